package main

import (
	"fmt"
	"os"

	"github.com/mattn/go-isatty"
)

// printer writes to a file and remembers the first failure, so that a command
// whose answer was lost does not end as if all were well.
type printer struct {
	file *os.File
	err  error
}

// Write writes, and remembers a failure.
func (p *printer) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	if err != nil && p.err == nil {
		p.err = err
	}
	return n, err
}

func (p *printer) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(p, format, args...) // Write remembers
}

// terminal reports whether a person is reading.
func (p *printer) terminal() bool {
	fd := p.file.Fd()
	return isatty.IsTerminal(fd) || isatty.IsCygwinTerminal(fd)
}

// colour reports whether colours are wanted; see https://no-color.org.
func (p *printer) colour() bool { return os.Getenv("NO_COLOR") == "" && p.terminal() }
