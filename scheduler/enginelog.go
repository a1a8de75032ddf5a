package scheduler

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
)

// engineLog lets through what the engine warns of: it says much about itself.
// Once it is stopping, what fails because it is stopping is no news.
type engineLog struct {
	slog.Handler
	stopping *atomic.Bool
}

func newEngineLog(h slog.Handler) *engineLog { return &engineLog{h, &atomic.Bool{}} }

func (h *engineLog) logger() *slog.Logger { return slog.New(h) }

func (h *engineLog) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (h *engineLog) Handle(ctx context.Context, r slog.Record) error {
	if h.stopping.Load() && aboutCancel(r) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// aboutCancel reports whether a record names a context that was cancelled. The
// engine logs errors as their text.
func aboutCancel(r slog.Record) (found bool) {
	r.Attrs(func(a slog.Attr) bool {
		found = strings.Contains(a.Value.String(), context.Canceled.Error())
		return !found
	})
	return found
}

func (h *engineLog) WithAttrs(a []slog.Attr) slog.Handler {
	return &engineLog{h.Handler.WithAttrs(a), h.stopping}
}

func (h *engineLog) WithGroup(n string) slog.Handler {
	return &engineLog{h.Handler.WithGroup(n), h.stopping}
}
