package main

import (
	"context"
	"errors"
	"io"

	"github.com/alecthomas/kong"

	"github.com/exportops/exportops/config"
)

// env is what every command works with.
type env struct {
	ctx            context.Context // one command, one context
	stdin          io.Reader
	stdout, stderr *printer
	output         string
	settings       config.Settings
	file           config.File
	fileErr        error
}

// readFile puts the settings file below the environment. Its mistakes are kept
// for config, to be reported together with those in the values.
func (e *env) readFile(k *kong.Context) error {
	var path string
	for _, flag := range k.Flags() {
		if flag.Name == "config" {
			path, _ = k.FlagValue(flag).(string)
		}
	}
	e.file, e.fileErr = config.ReadFile(path)
	k.AddResolver(config.Resolver(e.file.Values))
	return nil
}

// config returns the settings, or every mistake in them.
func (e *env) config() (config.Config, error) {
	c, err := e.settings.ParseBeside(e.file.Policy)
	c.Rules = e.file.Rules
	if err = errors.Join(e.fileErr, err); err != nil {
		return c, &usageError{err}
	}
	c.Channels = e.file.Channels
	return c, nil
}

// asJSON reports whether answers are shown as JSON.
func (e *env) asJSON() bool {
	return e.output == "json" || (e.output == "auto" && !e.stdout.terminal())
}
