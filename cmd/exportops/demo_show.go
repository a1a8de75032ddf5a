package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/exportops/exportops/client"
	"github.com/exportops/exportops/examples/exporter/exporter"
)

// draw shows a person what happened.
func (d *demo) draw() {
	e := d.env
	e.stdout.printf("\n")
	e.drawSummary(d.answer.Month)
	if a := d.answer.Rolls.FailureAlert; a != nil && a.Alert {
		warning := "ALERT: " + percent(a.FailureRate) + " of this hour's exports failed, which is above " + percent(a.Threshold)
		if e.stdout.colour() {
			warning = text.Colors{text.FgRed, text.Bold}.Sprint(warning)
		}
		e.stdout.printf("\n%s\n\n", warning)
	}
	e.drawFiles(d.answer.Files)
	e.drawLogs(d.answer.Logs)
	rows := make([][]string, len(d.answer.Proof))
	for i, p := range d.answer.Proof {
		mark := "✓"
		if !p.Agrees {
			mark = "✗ " + p.By
		}
		rows[i] = []string{p.What, number(p.Told), number(p.Counted), mark}
	}
	e.table("what was told, and what SQL counts", strings.Split("number,told,counted,", ","), rows)
	e.stdout.printf("done in %.1f s\n", d.answer.Seconds)
}

// stay serves, with the application beside it, until it is interrupted.
func (d *demo) stay(ctx context.Context) (err error) {
	ops, err := client.New(d.base, "") //nolint:contextcheck // it lives until Close
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, ops.Close(end))
	}()
	x := exporter.New(exporter.Config{Dir: d.cfg.Storage.Root, Ops: ops, Rows: ops, Lifetime: d.cfg.FileRetention})
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: x.Handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	d.invite("http://" + l.Addr().String())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	d.env.stderr.printf("stopping\n")
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return server.Shutdown(end)
}

// invite says what can be tried while it serves.
func (d *demo) invite(application string) {
	d.env.stderr.printf(`
Serving until you press Ctrl-C. In another terminal:

  the API, to read      %[1]s/docs
  export conversations  curl -sS %[2]s/api/export -d '{"user_id":"0b8f3c1e-54a7-4e0c-9c4d-6d2a9f1b7e10","format":"csv"}'
  what is known of them curl -sS '%[1]s/api/v1/exports?limit=3'
  the metrics           curl -sS '%[1]s/api/v1/metrics/volume?days=30'
  run a job             curl -sS -X POST -H 'Authorization: Bearer %[3]s' %[1]s/api/cron/export-file-cleanup
  ask the database      sqlite3 %[4]s 'SELECT status, count(*) FROM export_logs GROUP BY status'
  the log events        tail -f %[5]s/events.jsonl
`, d.base, application, d.cfg.CronSecret.Current.Reveal(), d.cfg.DatabasePath, d.dir)
}
