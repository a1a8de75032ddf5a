package eventlog

import (
	"io"
	"log/slog"
)

// NewLogger returns a log of what the program has to say about itself: a line of
// JSON for each message, or of text for a person. Errors in it are scrubbed as those
// in events are: what a database or a storage answered may quote what it holds.
func NewLogger(w io.Writer, text bool) *slog.Logger {
	o := &slog.HandlerOptions{ReplaceAttr: scrubbed}
	if text {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

func scrubbed(_ []string, a slog.Attr) slog.Attr {
	if err, ok := a.Value.Any().(error); ok {
		a.Value = slog.StringValue(Scrub(err.Error()))
	}
	return a
}
