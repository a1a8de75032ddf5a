package main

import (
	"errors"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/exportops/exportops"
)

// usageError is a mistake in how the program was called or set up.
type usageError struct{ err error }

func (u *usageError) Error() string { return u.err.Error() }
func (u *usageError) Unwrap() error { return u.err }

// report says what went wrong, where, and what to do about it, one mistake
// after the other.
func report(w *printer, err error) {
	paint := func(c text.Colors, s string) string {
		if !w.colour() {
			return s
		}
		return c.Sprint(s)
	}
	for _, one := range mistakes(err) {
		var e *exportops.Error
		w.printf("%s %s\n", paint(text.Colors{text.FgRed, text.Bold}, "error:"), oneLine(one.Error()))
		if errors.As(one, &e) && e.Hint != "" {
			w.printf("  %s %s\n", paint(text.Colors{text.FgCyan}, "→"), oneLine(e.Hint))
		}
	}
	var usage *usageError
	if errors.As(err, &usage) && !hasHint(err) {
		w.printf("  → see exportops --help\n")
	}
}

func hasHint(err error) bool {
	var e *exportops.Error
	return errors.As(err, &e) && e.Hint != ""
}

// mistakes takes joined errors apart.
func mistakes(err error) []error {
	var usage *usageError
	if errors.As(err, &usage) && err == error(usage) { //nolint:errorlint // the outermost only
		return mistakes(usage.err)
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, mistakes(e)...)
	}
	return all
}

// oneLine keeps what came from outside from writing to the terminal as it
// pleases.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, s)
}
