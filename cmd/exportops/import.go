package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/config"
)

type importCmd struct {
	File   string `arg:"" help:"to read, - for the standard input"`
	Kind   string `name:"kind" enum:"auto,logs,metrics" default:"auto" placeholder:"auto|logs|metrics" help:"what the file holds: rows of export_logs, or export_metric events; auto looks at each record"`
	Format string `name:"format" enum:"auto,jsonl,csv" default:"auto" placeholder:"auto|jsonl|csv" help:"of the file; auto goes by its name, else by its first line"`
}

// importAnswer counts what became of the records.
type importAnswer struct {
	Records  int64 `json:"records"`
	New      int64 `json:"new"`
	Repeated int64 `json:"repeated"` // were there already, with the same content
	Refused  int64 `json:"refused"`
	Skipped  int64 `json:"skipped"` // other log events
}

// Run reads the file to its end, whatever single records hold, and exits 1 if
// it refused any. Reading it again changes nothing.
func (c *importCmd) Run(e *env) error {
	in := e.stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return &usageError{fmt.Errorf("open the file to import: %w", err)}
		}
		defer f.Close()
		in = f
	}
	cfg, err := e.config()
	if err != nil {
		return err
	}
	store, err := app.OpenStore(e.ctx, cfg)
	if err != nil {
		return err
	}
	i := &importer{
		store: store, want: kind(c.Kind), out: e.stderr, progress: e.stderr.terminal(),
		retention: cfg.LogRetention, now: time.Now(), unknown: map[string]bool{},
	}
	src, err := newSource(newLines(&interruptible{ctx: e.ctx, r: in}), c.format())
	if err == nil {
		err = i.all(e.ctx, src)
	}
	if i.progress {
		e.stderr.printf("\r\033[K")
	}
	if err = errors.Join(err, store.Close()); err != nil {
		return fmt.Errorf("stopped after %d records; run it again, what is there already is recognized: %w", i.count.Records, err)
	}
	if err := e.show(i.count, func() {
		e.table("import", nil, [][]string{
			{"records", number(i.count.Records)},
			{"new", number(i.count.New)},
			{"repeated", number(i.count.Repeated)},
			{"refused", number(i.count.Refused)},
			{"skipped", number(i.count.Skipped)},
		})
	}); err != nil {
		return err
	}
	if i.count.Refused > 0 {
		return errSaid
	}
	return nil
}

func (c *importCmd) format() string {
	if c.Format != "auto" {
		return c.Format
	}
	switch strings.ToLower(filepath.Ext(c.File)) {
	case ".csv":
		return "csv"
	case ".jsonl", ".ndjson":
		return "jsonl"
	}
	return "auto"
}

// source yields records with the line they begin on. A *lineError costs one
// record; io.EOF follows the last.
type source func() (*fields, int, error)

func newSource(l *lines, format string) (source, error) {
	if format == "auto" {
		first, err := l.next()
		if errors.Is(err, io.EOF) {
			return func() (*fields, int, error) { return nil, 0, io.EOF }, nil
		}
		if err != nil {
			return nil, err
		}
		l.handBack([]line{first})
		switch {
		case strings.HasPrefix(strings.TrimSpace(first.text), "["):
			return nil, errors.New("the file is one JSON list; make lines of it with: jq -c '.[]'")
		case strings.HasPrefix(strings.TrimSpace(first.text), "{") || first.err != nil:
			format = "jsonl"
		default:
			format = "csv"
		}
	}
	if format == "jsonl" {
		return func() (*fields, int, error) {
			next, err := l.next()
			if err != nil {
				return nil, 0, err
			}
			if next.err != nil {
				return nil, next.n, &lineError{next.err}
			}
			f, err := jsonFields(next.text)
			return f, next.n, err
		}, nil
	}
	header, n, err := l.csvRecord()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line %d, the header: %w", n, err)
	}
	return func() (*fields, int, error) {
		cells, n, err := l.csvRecord()
		if err != nil {
			return nil, n, err
		}
		f, err := csvFields(header, cells)
		return f, n, err
	}, nil
}

// importStore is what an import writes to.
type importStore interface {
	RecordMetrics(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error)
	ImportExports(ctx context.Context, batch []exportops.Export, now exportops.Time) ([]exportops.Receipt, error)
}

// importBatch is how many records are written in one transaction.
const importBatch = 500

type importer struct {
	store     importStore
	want      kind
	out       *printer
	progress  bool
	retention time.Duration
	now       time.Time
	count     importAnswer
	unknown   map[string]bool

	metrics []exportops.Metric
	exports []exportops.Export
	// Where the records of these batches began.
	metricLines, exportLines []int
}

func (i *importer) refuse(n int, why error) {
	i.count.Refused++
	for _, one := range mistakes(why) {
		i.out.printf("line %d: %s\n", n, oneLine(one.Error()))
	}
}

// all imports every record of the source. An error means that writing or
// reading failed, and that the rest was not looked at.
func (i *importer) all(ctx context.Context, next source) error {
	for ctx.Err() == nil {
		f, n, err := next()
		if errors.Is(err, io.EOF) {
			return i.flush(ctx)
		}
		if err == nil {
			err = i.take(f, n)
		}
		var bad *lineError
		switch {
		case errors.As(err, &bad) || exportops.IsKind(err, exportops.KindInvalid):
			i.count.Records++
			i.refuse(n, err)
		case err != nil:
			return err
		default:
			i.count.Records++
		}
		if len(i.metrics)+len(i.exports) >= importBatch {
			if err := i.flush(ctx); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// take puts one record into its batch.
func (i *importer) take(f *fields, n int) error {
	k, err := f.kind(i.want)
	if err != nil {
		return err
	}
	if k == kindOther {
		i.count.Skipped++
		return nil
	}
	for _, name := range f.unknown(k) {
		if !i.unknown[name] && len(i.unknown) < 100 {
			i.unknown[name] = true
			i.out.printf("line %d: %s is not a field we know; it is left out here and below\n", n, oneLine(shorten(name, 64)))
		}
	}
	if k == kindLog {
		e, err := f.export()
		if err != nil {
			return err
		}
		i.exports, i.exportLines = append(i.exports, e), append(i.exportLines, n)
		return nil
	}
	m, err := f.metric()
	if err != nil {
		return err
	}
	if m.Timestamp.Before(i.now.Add(-i.retention)) {
		return exportops.Invalid("timestamp", "%s is older than the log retention of %s (EXPORT_LOG_RETENTION)",
			m.Timestamp, config.ShowDuration(i.retention))
	}
	i.metrics, i.metricLines = append(i.metrics, m), append(i.metricLines, n)
	return nil
}

// flush writes what was taken. Rows go first, so that a metric beside its row
// is counted in the row's hour at once.
func (i *importer) flush(ctx context.Context) error {
	if len(i.exports) > 0 {
		if err := i.importExports(ctx, i.exports, i.exportLines); err != nil {
			return err
		}
		i.exports, i.exportLines = i.exports[:0], i.exportLines[:0]
	}
	if len(i.metrics) > 0 {
		receipts, err := i.store.RecordMetrics(ctx, i.metrics)
		if err != nil {
			return err
		}
		i.tell(receipts, i.metricLines)
		i.metrics, i.metricLines = i.metrics[:0], i.metricLines[:0]
	}
	if i.progress {
		i.out.printf("\r%d records", i.count.Records)
	}
	return nil
}

// importExports writes rows. Where the table refuses one of them, the others go in
// without it.
func (i *importer) importExports(ctx context.Context, batch []exportops.Export, at []int) error {
	receipts, err := i.store.ImportExports(ctx, batch, exportops.At(i.now))
	switch {
	case err == nil:
		i.tell(receipts, at)
		return nil
	case !exportops.IsKind(err, exportops.KindInvalid):
		return err
	case len(batch) == 1:
		i.refuse(at[0], err)
		return nil
	}
	half := len(batch) / 2
	if err := i.importExports(ctx, batch[:half], at[:half]); err != nil {
		return err
	}
	return i.importExports(ctx, batch[half:], at[half:])
}

func (i *importer) tell(receipts []exportops.Receipt, at []int) {
	for j, r := range receipts {
		switch {
		case r.Err != nil:
			i.refuse(at[j], r.Err)
		case r.New:
			i.count.New++
		default:
			i.count.Repeated++
		}
	}
}
