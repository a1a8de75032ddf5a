package main

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
)

type exportsCmd struct {
	List   exportsListCmd   `cmd:"" default:"withargs" help:"List exports, newest first, or show one."`
	Report exportsReportCmd `cmd:"" help:"Write the compliance report: each export, and what became of its file."`
}

type exportsListCmd struct {
	ID     string `arg:"" optional:"" name:"export-id" help:"show this one"`
	User   string `name:"user" placeholder:"ID" help:"of this user"`
	Format string `name:"format" placeholder:"FORMAT" help:"json, jsonl, csv or markdown"`
	Status string `name:"status" placeholder:"STATUS" help:"queued, processing, completed, failed or expired"`
	From   string `name:"from" placeholder:"TIME" help:"asked for at this instant or later"`
	To     string `name:"to" placeholder:"TIME" help:"asked for before this instant"`
	Limit  int    `name:"limit" default:"50" placeholder:"N" help:"at most so many, 1 to 500 (${default})"`
	Cursor string `name:"cursor" placeholder:"CURSOR" help:"go on where the page before ended"`
}

// Run lists exports, newest first, or shows one.
func (c *exportsListCmd) Run(e *env) error {
	f, err := c.filter()
	if err != nil {
		return &usageError{err}
	}
	return e.withStore(func(s exportops.Database) error {
		if c.ID != "" {
			x, err := s.Export(e.ctx, strings.ToLower(c.ID))
			one := []exportops.Export{x}
			if err == nil {
				err = exportops.MarkMissing(e.ctx, s, one)
			}
			if err != nil {
				return err
			}
			return e.show(one[0], func() { e.drawExport(one[0]) })
		}
		page, next, err := s.Exports(e.ctx, f)
		if err == nil {
			err = exportops.MarkMissing(e.ctx, s, page)
		}
		if err != nil {
			return err
		}
		if page == nil {
			page = []exportops.Export{}
		}
		answer := struct {
			Exports    []exportops.Export `json:"exports"`
			NextCursor string             `json:"next_cursor"`
		}{page, next}
		return e.show(answer, func() {
			rows := make([][]string, len(page))
			for i, x := range page {
				rows[i] = []string{x.ExportID, instant(&x.Timestamp), string(x.Format), string(x.Status), number(x.ConversationCount), size(x.FileSize), instant(x.ExpiresAt), instant(x.FileMissingSince)}
			}
			e.table("exports", strings.Split("export,asked,format,status,conversations,size,expires,file missing since", ","), rows)
			e.drawNext(next)
		})
	})
}

// withStore opens the database, calls fn and closes it.
func (e *env) withStore(fn func(exportops.Database) error) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	s, err := app.OpenStore(e.ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(fn(s), s.Close())
}

func (c *exportsListCmd) filter() (exportops.ExportFilter, error) {
	f := exportops.ExportFilter{
		UserID: strings.ToLower(c.User), Format: exportops.Format(c.Format), Status: exportops.Status(c.Status),
		Limit: c.Limit, Cursor: c.Cursor,
	}
	var errs []error
	if c.Format != "" && !slices.Contains(exportops.Formats, f.Format) {
		errs = append(errs, exportops.Invalid("--format", "%q is not one of json, jsonl, csv, markdown", shorten(c.Format, 64)))
	}
	if c.Status != "" && !slices.Contains(exportops.Statuses, f.Status) {
		errs = append(errs, exportops.Invalid("--status", "%q is not one of queued, processing, completed, failed, expired", shorten(c.Status, 64)))
	}
	if c.Limit < 1 || c.Limit > exportops.MaxPage {
		errs = append(errs, exportops.Invalid("--limit", "%d is not between 1 and %d", c.Limit, exportops.MaxPage))
	}
	for _, x := range []struct {
		flag, given string
		into        *exportops.Time
	}{{"--from", c.From, &f.From}, {"--to", c.To, &f.To}} {
		if x.given == "" {
			continue
		}
		t, err := when(x.flag, x.given, time.Now(), 0)
		if err != nil {
			errs = append(errs, err)
		}
		*x.into = t
	}
	return f, errors.Join(errs...)
}

func (e *env) drawExport(x exportops.Export) {
	text := func(s *string) string {
		if s == nil {
			return "–"
		}
		return *s
	}
	e.table("export "+x.ExportID, nil, [][]string{
		{"user", x.UserID},
		{"asked", instant(&x.Timestamp)},
		{"format", string(x.Format)},
		{"status", string(x.Status)},
		{"conversations", number(x.ConversationCount)},
		{"size", size(x.FileSize)},
		{"file", text(x.FileURL)},
		{"file missing since", instant(x.FileMissingSince)},
		{"expires", instant(x.ExpiresAt)},
		{"error", text(x.ErrorMessage)},
		{"created", instant(&x.CreatedAt)},
		{"updated", instant(&x.UpdatedAt)},
		{"downloads", number(x.DownloadedCount)},
		{"config", string(x.Config)},
	})
}

func (e *env) drawNext(cursor string) {
	if cursor != "" {
		e.stdout.printf("more: --cursor %s\n", cursor)
	}
}

func size(n *int64) string {
	if n == nil {
		return "–"
	}
	return byteSize(float64(*n))
}
