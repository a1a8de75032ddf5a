package exporter

import (
	"encoding/json"
	"io"

	"github.com/exportops/exportops"
)

// encoder writes conversations in one format. The output is complete after end.
type encoder interface {
	add(c Conversation) error
	end() error
}

func newEncoder(w io.Writer, f exportops.Format, metadata bool) encoder {
	switch f {
	case exportops.JSONL:
		return lineEncoder{plainJSON(w)}
	case exportops.CSV:
		return newCSV(w, metadata)
	case exportops.Markdown:
		return &markdownEncoder{w: w}
	default: // the request was checked
		return &arrayEncoder{w: w, json: plainJSON(w)}
	}
}

// extension returns what a file's name ends with.
func extension(f exportops.Format) string {
	if f == exportops.Markdown {
		return ".md"
	}
	return "." + string(f)
}

func contentType(f exportops.Format) string {
	return map[exportops.Format]string{
		exportops.JSON:     "application/json",
		exportops.JSONL:    "application/x-ndjson",
		exportops.CSV:      "text/csv; charset=utf-8",
		exportops.Markdown: "text/markdown; charset=utf-8",
	}[f]
}

// plainJSON leaves <, > and & readable: no page embeds these files.
func plainJSON(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

// lineEncoder writes JSON Lines.
type lineEncoder struct{ json *json.Encoder }

func (e lineEncoder) add(c Conversation) error { return e.json.Encode(c) }
func (e lineEncoder) end() error               { return nil }

// arrayEncoder writes one JSON array, a conversation a line.
type arrayEncoder struct {
	w    io.Writer
	json *json.Encoder
	some bool
}

func (e *arrayEncoder) add(c Conversation) error {
	before := "["
	if e.some {
		before = ","
	}
	e.some = true
	if _, err := io.WriteString(e.w, before); err != nil {
		return err
	}
	return e.json.Encode(c)
}

func (e *arrayEncoder) end() error {
	after := "]\n"
	if !e.some {
		after = "[]\n"
	}
	_, err := io.WriteString(e.w, after)
	return err
}
