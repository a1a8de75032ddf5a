package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxRecord is the most bytes that a line, or a CSV record of several lines,
// may have, and maxRecordLines the most lines. They bound the memory that an
// import takes, whatever the file holds.
const (
	maxRecord      = 1 << 20
	maxRecordLines = 10_000
)

// line is one line of a file, without its end.
type line struct {
	n    int // from 1
	text string
	err  error // why it cannot be read as text
}

var (
	errTooLong = fmt.Errorf("longer than %d bytes", maxRecord)
	errNUL     = errors.New("it holds a NUL byte")
	errNotUTF8 = errors.New("it is not valid UTF-8")
)

// lines reads a file line by line. Lines can be handed back.
type lines struct {
	r    *bufio.Reader
	n    int
	back []line // handed back, last first
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, 64<<10)} }

// next returns the next line that is not blank, io.EOF after the last.
func (l *lines) next() (line, error) {
	for {
		x, err := l.any()
		if err != nil || x.err != nil || strings.TrimSpace(x.text) != "" {
			return x, err
		}
	}
}

// any returns the next line, blank or not, io.EOF after the last.
func (l *lines) any() (line, error) {
	if k := len(l.back); k > 0 {
		x := l.back[k-1]
		l.back = l.back[:k-1]
		return x, nil
	}
	text, err := l.read()
	if err != nil && !errors.Is(err, errTooLong) {
		return line{}, err
	}
	l.n++
	if l.n == 1 {
		text = strings.TrimPrefix(text, "\ufeff")
	}
	switch {
	case errors.Is(err, errTooLong):
		return line{n: l.n, err: errTooLong}, nil
	case strings.ContainsRune(text, 0):
		return line{n: l.n, err: errNUL}, nil
	case !utf8.ValidString(text):
		return line{n: l.n, err: errNotUTF8}, nil
	}
	return line{n: l.n, text: text}, nil
}

// handBack makes next return these lines again, in order.
func (l *lines) handBack(lines []line) {
	for i := len(lines) - 1; i >= 0; i-- {
		l.back = append(l.back, lines[i])
	}
}

// read returns one line; of one that is too long it keeps nothing.
func (l *lines) read() (string, error) {
	var text []byte
	long := false
	for {
		part, err := l.r.ReadSlice('\n')
		if long = long || len(text)+len(part) > maxRecord; !long {
			text = append(text, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(text) == 0 && !long:
			return "", io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return "", fmt.Errorf("read line %d: %w", l.n+1, err)
		case long:
			return "", errTooLong
		}
		return string(bytes.TrimRight(text, "\r\n")), nil
	}
}

// csvRecord returns the fields of the next CSV record and the line it begins
// on. A record that cannot be read costs its first line alone: a quote left
// open must not swallow the rest of the file.
func (l *lines) csvRecord() (fields []string, n int, err error) {
	first, err := l.next()
	if err != nil {
		return nil, 0, err
	}
	if first.err != nil {
		return nil, first.n, &lineError{first.err}
	}
	var text strings.Builder
	text.WriteString(first.text)
	var more []line
	open := strings.Count(first.text, `"`)%2 == 1
	for open {
		next, err := l.any()
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return nil, first.n, err
		case err != nil || next.err != nil || text.Len()+len(next.text) > maxRecord || len(more) == maxRecordLines:
			if err == nil {
				more = append(more, next)
			}
			l.handBack(more)
			return nil, first.n, &lineError{errors.New("a quote is left open")}
		}
		more = append(more, next)
		text.WriteString("\n" + next.text)
		open = open != (strings.Count(next.text, `"`)%2 == 1)
	}
	r := csv.NewReader(strings.NewReader(text.String()))
	r.FieldsPerRecord = -1
	fields, err = r.Read()
	if err != nil {
		l.handBack(more)
		var p *csv.ParseError
		if errors.As(err, &p) {
			err = p.Err
		}
		return nil, first.n, &lineError{err}
	}
	return fields, first.n, nil
}

// lineError says that one record cannot be read; the next one may.
type lineError struct{ err error }

func (b *lineError) Error() string { return b.err.Error() }
func (b *lineError) Unwrap() error { return b.err }
