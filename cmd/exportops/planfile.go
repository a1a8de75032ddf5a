package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
	"github.com/exportops/exportops/jobs"
)

// oldPlan is from when on a plan is said to be old.
const oldPlan = 24 * time.Hour

// openPlan opens and verifies a plan. The file is read again while it is applied.
func openPlan(name string) (*cleanup.Plan, *os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, &exportops.Error{Kind: exportops.KindInvalid, Field: "--plan", Message: err.Error()}
	}
	p, err := cleanup.ReadPlan(f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return p, f, nil
}

// makePlan runs a dry run that writes its plan to a file.
func (e *env) makePlan(name string, req jobs.Request) error {
	return writePlan(name, func(f *os.File) error {
		req.PlanOut = f
		return e.runJob(req)
	})
}

// applyPlan runs a job that applies the plan of a file.
func (e *env) applyPlan(name string, req jobs.Request) error {
	plan, file, err := openPlan(name)
	if err != nil {
		return err
	}
	if age := time.Since(plan.Now.Time); age > oldPlan {
		e.stderr.printf("note: the plan is %s old; what was changed since is left alone\n", age.Round(time.Hour))
	}
	req.Plan = plan
	return errors.Join(e.runJob(req), file.Close())
}

// writePlan lets write fill a file that nobody else may read, because it names
// users' files. Nothing is there until it is whole.
func writePlan(name string, write func(*os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".exportops-plan-*")
	if err != nil {
		return &exportops.Error{Kind: exportops.KindInvalid, Field: "--plan-out", Message: err.Error()}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := write(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the plan: %w", err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return fmt.Errorf("write the plan: %w", err)
	}
	return nil
}
