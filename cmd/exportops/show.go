package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/exportops/exportops"
)

// show writes an answer: as one JSON object, or by draw for people.
func (e *env) show(answer any, draw func()) error {
	if !e.asJSON() {
		draw()
		return nil
	}
	out := json.NewEncoder(e.stdout)
	out.SetEscapeHTML(false)
	if err := out.Encode(answer); err != nil && e.stdout.err == nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return nil
}

// table draws a table under a title, which a table of its own would wrap.
func (e *env) table(title string, header []string, rows [][]string) {
	title = oneLine(title)
	w := table.NewWriter()
	w.SetOutputMirror(e.stdout)
	style := table.StyleLight
	style.Format.Header = text.FormatDefault
	style.Options.SeparateColumns = false
	style.Options.DrawBorder = false
	if e.stdout.colour() {
		style.Color.Header = text.Colors{text.Bold}
		title = text.Colors{text.FgCyan, text.Bold}.Sprint(title)
	}
	w.SetStyle(style)
	if header != nil {
		w.AppendHeader(cells(header))
	}
	for _, r := range rows {
		w.AppendRow(cells(r))
	}
	e.stdout.printf("%s\n", title)
	w.Render()
}

func cells(s []string) table.Row {
	row := make(table.Row, len(s))
	for i, c := range s {
		row[i] = oneLine(c)
	}
	return row
}

// shorten cuts text to n characters.
func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func percent(f float64) string { return strconv.FormatFloat(100*f, 'f', 1, 64) + " %" }

func millis(f float64) string {
	return time.Duration(f * float64(time.Millisecond)).Round(time.Millisecond).String()
}

// byteSize shows a size in the unit that suits it.
func byteSize(f float64) string {
	const units = "kMGTPE"
	if f < 1000 {
		return strconv.FormatFloat(f, 'f', 0, 64) + " B"
	}
	u := -1
	for f >= 1000 && u < len(units)-1 {
		f, u = f/1000, u+1
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[u:u+1] + "B"
}

func instant(t *exportops.Time) string {
	if t == nil || t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
