package exporter

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// markdownEncoder writes a section a conversation. Messages stand in fenced
// blocks, letter by letter: whatever they hold, headings, HTML or fences of
// their own, stays text. The rest is escaped.
type markdownEncoder struct {
	w     io.Writer
	count int
}

func (e *markdownEncoder) add(c Conversation) error {
	var b strings.Builder
	if e.count == 0 {
		b.WriteString("# Conversations\n")
	}
	e.count++
	title := "Conversation"
	if c.Topic != "" {
		title = escape(c.Topic)
	}
	fmt.Fprintf(&b, "\n## %d. %s\n", e.count, title)
	if c.ID != "" {
		fmt.Fprintf(&b, "\n- id: %s\n", escape(c.ID))
	}
	if !c.CreatedAt.IsZero() {
		if c.ID == "" {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "- created: %s\n", c.CreatedAt)
	}
	for _, m := range c.Messages {
		fence := fenceFor(m.Content)
		fmt.Fprintf(&b, "\n**%s**\n\n%stext\n%s\n%s\n", m.Role, fence, m.Content, fence)
	}
	_, err := io.WriteString(e.w, b.String())
	return err
}

func (e *markdownEncoder) end() error { return nil }

// fenceFor returns a fence longer than any run of backticks in s, so that
// nothing in s can close it.
func fenceFor(s string) string {
	longest, run := 2, 0
	for i := range len(s) {
		if s[i] != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return strings.Repeat("`", longest+1)
}

// escape makes s plain text within one line: every ASCII punctuation mark may
// be escaped in Markdown, so all of them are.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsControl(r):
			b.WriteByte(' ')
			continue
		case r < 128 && (unicode.IsPunct(r) || unicode.IsSymbol(r)):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
