package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/client"
	"github.com/exportops/exportops/examples/exporter/exporter"
	"github.com/exportops/exportops/recorder"
)

// demoMade counts the exports that the demonstration made.
type demoMade struct {
	Exports    int64 `json:"exports"`
	Completed  int64 `json:"completed"`
	Failed     int64 `json:"failed"`
	InProgress int64 `json:"in_progress"`
	Files      int64 `json:"files"`
	Bytes      int64 `json:"bytes"`
	Removed    int64 `json:"removed_by_hand"` // files that someone else deleted
	OnDemand   int64 `json:"without_a_file"`
}

// past is an exporter.Ops for exports that happened long ago: it writes rows
// with the times they would have had, which the API never would.
type past struct {
	store     exportops.Database
	metrics   *recorder.Recorder
	at        time.Time // when the export under way began
	began     time.Time // in truth
	retention time.Duration
}

// now is the time it was, as far as the export has come.
func (p *past) now() time.Time { return p.at.Add(time.Since(p.began)) }

// CreateExport adds a row.
func (p *past) CreateExport(ctx context.Context, e exportops.Export) (exportops.Export, error) {
	return p.store.CreateExport(ctx, e)
}

// UpdateExport changes a row.
func (p *past) UpdateExport(ctx context.Context, id string, u exportops.ExportUpdate) (exportops.Export, error) {
	return p.store.UpdateExport(ctx, id, u, nil, exportops.At(p.now()))
}

// Log records a metric; those older than log rows are kept would be refused.
func (p *past) Log(m exportops.Metric) error {
	if time.Since(p.at) > p.retention-time.Hour {
		return nil
	}
	m.Timestamp = exportops.At(p.at)
	return p.metrics.Log(m)
}

// crowd is the people who export, and what they ask for. The dice fall the same
// way each time.
type crowd struct {
	dice  *rand.Rand
	users []string
}

func newCrowd() *crowd {
	c := &crowd{dice: rand.New(rand.NewPCG(2025, 10))} //nolint:gosec // it decides what a demonstration exports
	for range 12 {
		c.users = append(c.users, exportops.NewID())
	}
	return c
}

func (c *crowd) request() exporter.Request {
	r := exporter.NewRequest()
	// A few users export the most.
	r.UserID = c.users[min(c.dice.IntN(len(c.users)), c.dice.IntN(len(c.users)))]
	r.Format = exportops.Formats[c.dice.IntN(len(exportops.Formats))]
	if c.dice.IntN(3) > 0 {
		r.Scope, r.Limit = exporter.ScopeLimit, 5+c.dice.IntN(150)
	}
	return r
}

// broken is a request that fails, in one of the ways that requests do.
func (c *crowd) broken(way int) exporter.Request {
	r := c.request()
	r.Limit = 0
	switch way % 3 {
	case 0:
		r.Scope, r.Topic = exporter.ScopeTopic, "knitting"
	case 1:
		r.Scope, r.Format = exporter.ScopeAll, "docx"
	default:
		r.Scope, r.IDs = exporter.ScopeIDs, []string{"conv-that-was-deleted"}
	}
	return r
}

// damagedSource is a data set whose second line was cut off.
func damagedSource() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(
		`{"id":"a","topic":"sql","messages":[{"role":"user","content":"hello"}]}` + "\n" + `{"id":"b","topic":`)), nil
}

// historyDays is how far back the exports of the past reach: beyond the 30 days
// that log rows are kept.
const historyDays = 36

// makeHistory makes the exports of the past, up to an hour ago.
func (d *demo) makeHistory(ctx context.Context) (_ string, err error) {
	p := &past{store: d.app.Store, metrics: recorder.New(d.app.Metrics, recorder.Options{}), retention: d.cfg.LogRetention} //nolint:contextcheck // it lives until Close
	defer func() { err = errors.Join(err, p.metrics.Close(context.WithoutCancel(ctx))) }()
	x := exporter.New(exporter.Config{Dir: d.cfg.Storage.Root, Ops: p, Clock: p.now, Lifetime: d.cfg.FileRetention})
	c, now := d.crowd, time.Now()
	for day := historyDays; day >= 0; day-- {
		midnight := now.AddDate(0, 0, -day).Truncate(24 * time.Hour)
		for i := range 5 + c.dice.IntN(8) {
			p.at = midnight.Add(time.Duration(c.dice.IntN(24 * int(time.Hour))))
			if now.Sub(p.at) < 61*time.Minute {
				continue
			}
			p.began = time.Now()
			req := c.request()
			if c.dice.IntN(25) == 0 {
				req = c.broken(i)
			}
			if err := d.export(ctx, x, req); err != nil {
				return "", err
			}
			if err := d.spoil(ctx, p, req.UserID); err != nil {
				return "", err
			}
		}
	}
	m := d.answer.Made
	return fmt.Sprintf("%d over %d days, %d of them failed, %s in %d files", m.Exports, historyDays, m.Failed, byteSize(float64(m.Bytes)), m.Files), nil
}

// spoil makes of some exports what happens to exports in the field: their file
// is deleted by hand, or they never had one.
func (d *demo) spoil(ctx context.Context, p *past, user string) error {
	switch made := d.answer.Made; {
	case made.Exports == 40 || made.Exports == 80:
		return d.removeFirstFile(user)
	case made.Exports%60 == 7:
		id, size := exportops.NewID(), int64(0)
		url := "/api/export/download/" + id + ".json"
		expires := exportops.At(p.at.Add(d.cfg.FileRetention))
		_, err := p.CreateExport(ctx, exportops.Export{
			ExportID: id, UserID: user, Timestamp: exportops.At(p.at), Format: exportops.JSON, Config: []byte(`{"scope":"all"}`),
			ConversationCount: 1, FileSize: &size, Status: exportops.Completed, FileURL: &url, ExpiresAt: &expires,
		})
		d.answer.Made.Exports++
		d.answer.Made.Completed++
		d.answer.Made.OnDemand++
		return err
	}
	return nil
}

func (d *demo) removeFirstFile(user string) error {
	names, err := filepath.Glob(filepath.Join(d.cfg.Storage.Root, user, "*"))
	if err != nil || len(names) == 0 {
		return err
	}
	d.answer.Made.Removed++
	return os.Remove(names[0])
}

// makeToday makes exports over HTTP, through the Go client. More of them fail
// than should.
func (d *demo) makeToday(ctx context.Context) (_ string, err error) {
	ops, err := client.New(d.base, "") //nolint:contextcheck // it lives until Close
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, ops.Close(context.WithoutCancel(ctx))) }()
	before := d.answer.Made
	cfg := exporter.Config{Dir: d.cfg.Storage.Root, Ops: ops, Rows: ops, Lifetime: d.cfg.FileRetention}
	x := exporter.New(cfg)
	cfg.Source = damagedSource
	damaged := exporter.New(cfg)
	c := d.crowd
	for i := range 24 {
		req, with := c.request(), x
		switch {
		case i%6 == 5:
			req = c.broken(i / 6)
		case i == 12:
			req.Scope, req.Limit, with = exporter.ScopeAll, 0, damaged
		}
		if err := d.export(ctx, with, req); err != nil {
			return "", err
		}
	}
	processing := exportops.Processing
	for range 2 { // workers that are still busy
		id := exportops.NewID()
		_, err := ops.CreateExport(ctx, exportops.Export{
			ExportID: id, UserID: c.users[0], Timestamp: exportops.At(time.Now()), Format: exportops.JSONL, Config: []byte(`{"scope":"all"}`),
		})
		if err != nil {
			return "", err
		}
		if _, err := ops.UpdateExport(ctx, id, exportops.ExportUpdate{Status: &processing}); err != nil {
			return "", err
		}
		d.answer.Made.Exports++
		d.answer.Made.InProgress++
	}
	if err := ops.Flush(ctx); err != nil {
		return "", err
	}
	m := d.answer.Made
	return fmt.Sprintf("%d over HTTP, %d of them failed, %d in progress", m.Exports-before.Exports, m.Failed-before.Failed, m.InProgress), nil
}

// export makes one export and counts it. One that fails is no error here.
func (d *demo) export(ctx context.Context, x *exporter.Exporter, req exporter.Request) error {
	made := &d.answer.Made
	result, err := x.Export(ctx, req)
	var failed *exporter.ExportError
	switch {
	case err == nil:
		made.Completed++
		made.Files++
		made.Bytes += result.FileSize
	case errors.As(err, &failed) && failed.ExportID != "" && failed.Type != exporter.NotReported && ctx.Err() == nil:
		made.Failed++
	default:
		return err
	}
	made.Exports++
	return nil
}
