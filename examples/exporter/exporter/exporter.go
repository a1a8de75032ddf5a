// Package exporter is a small application that exports conversations to files
// and reports each export to exportops. It shows where the calls go; the files
// it leaves behind are exportops' to clean up.
//
//	POST /api/export ─▶ row: queued ─▶ processing ─▶ file ─▶ row: completed ─▶ metric
//	                                        └─ any error ─▶ no file, row: failed ─▶ metric
//
// The row comes before the file: a file that no row names would never expire.
// Who may export what is left to the application around it: user_id is taken
// as given.
package exporter

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/exportops/exportops"
)

// Ops is what an export reports to; client.Client is one, and so is whatever
// writes export_logs itself.
type Ops interface {
	CreateExport(ctx context.Context, e exportops.Export) (exportops.Export, error)
	UpdateExport(ctx context.Context, exportID string, u exportops.ExportUpdate) (exportops.Export, error)
	// Log returns at once; its error says that the metric is lost.
	Log(m exportops.Metric) error
}

// Rows finds the row of an export that is to be downloaded. It stands apart
// from Ops because reading takes a token of its own.
type Rows interface {
	Export(ctx context.Context, exportID string) (exportops.Export, error)
}

// Config says where an Exporter reads, writes and reports. Fields are required
// unless a default is given.
type Config struct {
	Dir      string        // folder of the files; it must exist, and is looked up at every export
	Source   Source        // the conversations (Embedded)
	Ops      Ops           // where exports are reported
	Rows     Rows          // where downloads are looked up
	Lifetime time.Duration // from completion to expiry (24 h)
	Clock    func() time.Time
	Log      *slog.Logger // of what could not be reported (none)
}

// Exporter exports conversations. It is safe for concurrent use.
type Exporter struct {
	cfg Config
	// wrap stands between the encoder and the file; tests fill a disk with it.
	wrap func(io.Writer) io.Writer
}

// New returns an Exporter. Whether folder and data set are there shows at every
// export, and in Check.
func New(cfg Config) *Exporter {
	if cfg.Source == nil {
		cfg.Source = Embedded
	}
	if cfg.Lifetime <= 0 {
		cfg.Lifetime = 24 * time.Hour
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Exporter{cfg: cfg, wrap: func(w io.Writer) io.Writer { return w }}
}
