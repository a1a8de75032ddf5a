package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/exportops/exportops"
)

// proof is one number that exportops told, beside the same number counted by
// plain SQL or on the disk right after.
type proof struct {
	What    string `json:"what"`
	Told    int64  `json:"told"`
	Counted int64  `json:"counted"`
	Agrees  bool   `json:"agrees"`
	By      string `json:"by"` // the query, or onDisk
}

// onDisk counts the export files.
const onDisk = "find exports -type f"

// The proofs that follow the steps of the demonstration.

func (d *demo) proveMade() []proof {
	m := d.answer.Made
	return []proof{
		{What: "exports made", Told: m.Exports, By: `SELECT count(*) FROM export_logs`},
		{What: "of these completed", Told: m.Completed, By: `SELECT count(*) FROM export_logs WHERE status = 'completed'`},
		{What: "of these failed", Told: m.Failed, By: `SELECT count(*) FROM export_logs WHERE status = 'failed'`},
		{What: "files written and not removed by hand", Told: m.Files - m.Removed, By: onDisk},
	}
}

func (d *demo) proveRolls() []proof {
	r := d.answer.Rolls
	finished := `SELECT count(*) FROM export_logs WHERE status IN ('completed', 'failed') AND ` + within(r.Metrics)
	proofs := []proof{
		{What: "failed in the last hour", Told: r.Metrics.FailedExports, By: strings.Replace(finished, "'completed', ", "", 1)},
		{What: "finished in the last hour", Told: r.Metrics.SuccessfulExports + r.Metrics.FailedExports, By: finished},
	}
	if r.FailureAlert == nil {
		return append(proofs, proof{What: "failure rate told", By: "SELECT 1"})
	}
	return append(proofs, proof{
		What: "failure alert (1 is above 10 %)", Told: map[bool]int64{true: 1}[r.FailureAlert.Alert],
		By: `SELECT sum(status = 'failed') * 10 > count(*) FROM export_logs WHERE status IN ('completed', 'failed') AND ` + within(r.Metrics),
	})
}

func (d *demo) proveFiles() []proof {
	m, f := d.answer.Made, d.answer.Files
	return []proof{
		{What: "files deleted", Told: f.DeletedCount, By: `SELECT count(*) FROM exportops_deletions WHERE state = 'deleted'`},
		{What: "files already absent", Told: f.AlreadyAbsent, By: `SELECT count(*) FROM exportops_deletions WHERE state = 'absent'`},
		{What: "rows expired", Told: f.LogsUpdated, By: `SELECT count(*) FROM export_logs WHERE status = 'expired'`},
		{What: "files left", Told: m.Files - m.Removed - f.DeletedCount, By: onDisk},
		{
			What: "files left of live exports", Told: m.Files - m.Removed - f.DeletedCount,
			By: `SELECT count(*) FROM export_logs WHERE status = 'completed' AND file_url NOT LIKE '/api/%'`,
		},
	}
}

func (d *demo) proveLogs() []proof {
	return []proof{{
		What: "log rows left", Told: d.answer.Made.Exports - d.answer.Logs.DeletedCount, By: `SELECT count(*) FROM export_logs`,
	}, {
		What: "log rows older than 30 days left", Told: d.answer.Logs.KeptInProgress + d.answer.Logs.KeptFileMayExist,
		By: `SELECT count(*) FROM export_logs WHERE timestamp < '` + exportops.At(d.logsCut).String() + `'`,
	}}
}

func (d *demo) proveMonth() []proof {
	m := d.answer.Month
	count := func(statuses string) string {
		return `SELECT count(*) FROM export_logs WHERE status IN (` + statuses + `) AND ` + within(m)
	}
	return []proof{
		{What: "exports of 30 days", Told: m.TotalExports, By: `SELECT count(*) FROM export_logs WHERE ` + within(m)},
		{What: "of these successful", Told: m.SuccessfulExports, By: count(`'completed', 'expired'`)},
		{What: "of these failed", Told: m.FailedExports, By: count(`'failed'`)},
		{What: "of these in progress", Told: m.InProgressExports, By: count(`'queued', 'processing'`)},
		{What: "users", Told: m.DistinctUsers, By: `SELECT count(DISTINCT user_id) FROM export_logs WHERE ` + within(m)},
	}
}

func within(s exportops.Summary) string {
	return fmt.Sprintf("timestamp >= '%s' AND timestamp < '%s'", s.PeriodStart, s.PeriodEnd)
}

// prove counts, past all code of ours.
func (d *demo) prove(ctx context.Context, proofs []proof) (err error) {
	dsn := url.URL{Scheme: "file", Path: d.cfg.DatabasePath, RawQuery: "mode=ro"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, p := range proofs {
		if p.By == onDisk {
			p.Counted, err = countFiles(d.cfg.Storage.Root)
		} else {
			err = db.QueryRowContext(ctx, p.By).Scan(&p.Counted)
		}
		if err != nil {
			return fmt.Errorf("count %s: %w", p.What, err)
		}
		p.Agrees = p.Told == p.Counted
		d.answer.Proof = append(d.answer.Proof, p)
	}
	return nil
}

func countFiles(root string) (n int64, err error) {
	err = filepath.WalkDir(root, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			n++
		}
		return err
	})
	return n, err
}
