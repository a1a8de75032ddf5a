package main

import (
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/exportops/exportops/app"
)

// open wires the program together; the caller closes it. Log events go to the
// standard error, where a terminal does not show them: the standard output is
// the answer's.
func (e *env) open() (*app.App, error) {
	c, err := e.config()
	if err != nil {
		return nil, err
	}
	events := io.Writer(e.stderr)
	if e.stderr.terminal() {
		events = io.Discard
	}
	log := slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return app.New(e.ctx, c, app.Options{Events: events, Log: log, Now: time.Now})
}

// with opens the program, calls fn and closes it.
func (e *env) with(fn func(*app.App) error) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	return errors.Join(fn(a), a.Close())
}
