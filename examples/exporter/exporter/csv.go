package exporter

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
)

// csvEncoder writes a row a message; the number of the conversation, from 1,
// holds together what belongs together.
//
// Spreadsheets run a cell that begins like a formula. Such a cell gets a single
// quote before it, and so does one that begins with a single quote already, so
// that a reader who takes one away gets back exactly what was there:
//
//	=HYPERLINK("http://…")  →  '=HYPERLINK("http://…")
//	'tis the season         →  ''tis the season
type csvEncoder struct {
	w        *csv.Writer
	metadata bool
	count    int
}

func newCSV(w io.Writer, metadata bool) *csvEncoder {
	return &csvEncoder{w: csv.NewWriter(w), metadata: metadata}
}

func (e *csvEncoder) add(c Conversation) error {
	if e.count == 0 {
		if err := e.w.Write(e.row("conversation", "turn", "role", "content", "id", "topic", "created_at")); err != nil {
			return err
		}
	}
	e.count++
	created := ""
	if !c.CreatedAt.IsZero() {
		created = c.CreatedAt.String()
	}
	for i, m := range c.Messages {
		err := e.w.Write(e.row(strconv.Itoa(e.count), strconv.Itoa(i+1), m.Role, harmless(m.Content),
			harmless(c.ID), harmless(c.Topic), created))
		if err != nil {
			return err
		}
	}
	return nil
}

// row leaves out the last three columns, which are metadata, where they are not
// wanted.
func (e *csvEncoder) row(columns ...string) []string {
	if e.metadata {
		return columns
	}
	return columns[:4]
}

func (e *csvEncoder) end() error {
	e.w.Flush()
	return e.w.Error()
}

// harmless keeps a spreadsheet from running s; see csvEncoder. The wide forms
// are what some of them take for the ASCII ones.
func harmless(s string) string {
	if strings.IndexAny(s, "=+-@\t\r\n'＝＋－＠") == 0 {
		return "'" + s
	}
	return s
}
