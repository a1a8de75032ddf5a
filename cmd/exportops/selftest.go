package main

import (
	"github.com/exportops/exportops/app"
)

type selftestCmd struct{}

// Run tests the configured database and storage and leaves nothing behind.
func (*selftestCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	t := &tally{out: e.stdout}
	err = app.SelfTest(e.ctx, cfg, func(name string, why error) {
		if why != nil {
			t.fail(name, why.Error())
		} else {
			t.pass(name, "")
		}
	})
	if total := t.total(); err == nil {
		err = total
	}
	return err
}
