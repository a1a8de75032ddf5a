//go:build linux && (amd64 || arm64)

package killsweep_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// job is a command that is swept.
type job struct {
	name    string
	args    []string
	status  int                          // that it ends with, undisturbed
	archive bool                         // log rows are archived
	empty   bool                         // there is nothing before it, not even a database
	prepare func(w *world, t *testing.T) // what happens before
}

const (
	anna = "5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5"
	ben  = "6e2f0c1e-2b3a-4c5d-8e6f-708192a3b4c6"
)

var allJobs = []job{
	{name: "migrate", args: []string{"migrate", "--create-export-logs"}, empty: true},
	{name: "file-cleanup", args: []string{"run", "file-cleanup"}, status: 1},
	{name: "file-cleanup-by-age", args: []string{"run", "file-cleanup", "--retention-hours", "36"}, status: 1},
	{name: "file-cleanup-by-plan", args: []string{"run", "file-cleanup", "--plan", "plan.json"}, prepare: func(w *world, t *testing.T) {
		w.command(t, "run", "file-cleanup", "--dry-run", "--plan-out", "plan.json")
	}},
	{name: "log-cleanup", args: []string{"run", "log-cleanup"}, status: 1},
	{name: "log-cleanup-archived", args: []string{"run", "log-cleanup"}, status: 1, archive: true, prepare: counted},
	{name: "log-cleanup-by-plan", args: []string{"run", "log-cleanup", "--plan", "plan.json"}, archive: true, prepare: func(w *world, t *testing.T) {
		counted(w, t)
		w.command(t, "run", "log-cleanup", "--dry-run", "--plan-out", "plan.json")
	}},
	{name: "user-log-cleanup", args: []string{"run", "log-cleanup", "--user", anna}, archive: true, prepare: counted},
	{name: "metrics-aggregate", args: []string{"run", "metrics-aggregate"}},
	{name: "erase-user", args: []string{"erase-user", anna}, prepare: func(w *world, t *testing.T) {
		w.command(t, "run", "metrics-aggregate")
		w.try(t, "run", "file-cleanup")
		w.command(t, "reconcile")
		w.rows(t, more...)
	}},
	{name: "erase-user-archived", args: []string{"erase-user", anna}, archive: true, prepare: func(w *world, t *testing.T) {
		w.command(t, "run", "metrics-aggregate")
		w.try(t, "run", "log-cleanup")
	}},
	{name: "reconcile", args: []string{"reconcile"}, prepare: func(w *world, t *testing.T) {
		w.command(t, "reconcile", "--stuck-after", "1000h")
		w.rows(t, row{n: 70, user: ben, status: "completed", days: 3, expires: -9, url: "stray/found.csv"})
		must(t, w.exports.remove("stray/gone.csv"))
		must(t, w.exports.put("stray/new.csv", []byte("new")))
	}},
	{name: "hold", args: []string{"hold", "place", "--user", anna, "--reason", "litigation", "--by", "counsel"}},
	{name: "archive-restore", args: []string{"archive", "restore", "--to-table"}, archive: true, prepare: func(w *world, t *testing.T) {
		w.try(t, "run", "log-cleanup")
	}},
}

// counted has the hours rolled up, which a log cleanup would otherwise begin with.
func counted(w *world, t *testing.T) { w.command(t, "run", "metrics-aggregate") }

// row is one row of the export logs.
type row struct {
	n       int
	user    string
	status  string
	days    float64 // since it was asked for
	expires float64 // days ago; negative ones are to come, never is never
	url     string
	fault   string
	noFile  bool // its file is not there
}

const never = 1e6

// some are rows of the world before the jobs: rows that are due and rows that are not, in every way that
// a cleanup tells apart.
var some = []row{
	{n: 1, user: anna, status: "completed", days: 3, expires: 2, url: "a/1.csv"},
	{n: 2, user: ben, status: "completed", days: 3, expires: 2, url: "b/2.csv"},
	{n: 3, user: anna, status: "completed", days: 3, expires: 2, url: "a/3.csv"},
	{n: 4, user: ben, status: "completed", days: 3, expires: 2, url: "b/4.csv"},
	{n: 5, user: anna, status: "completed", days: 4, expires: 3, url: "a/absent.csv", noFile: true},
	{n: 6, user: ben, status: "completed", days: 4, expires: 3, url: "https://elsewhere.example/refused.csv"},
	{n: 7, user: anna, status: "completed", days: 4, expires: 3},
	{n: 8, user: anna, status: "completed", days: 4, expires: 3, url: "both/8.csv"},
	{n: 9, user: ben, status: "completed", days: 4, expires: 2.5, url: "both/8.csv"},
	{n: 10, user: ben, status: "completed", days: 4, expires: 2, url: "live/10.csv"},
	{n: 11, user: ben, status: "completed", days: 1, expires: -30, url: "live/10.csv"},
	{n: 12, user: ben, status: "completed", days: 4, expires: 2, url: "held/12.csv"},
	{n: 13, user: ben, status: "completed", days: 4, expires: 5, url: "b/implausible.csv"},
	{n: 14, user: anna, status: "completed", days: 1, expires: -30, url: "a/14.csv"},
	{n: 15, user: ben, status: "completed", days: 4, expires: never, url: "b/15.csv"},
	{n: 16, user: ben, status: "processing", days: 4, expires: never},
	{n: 17, user: anna, status: "failed", days: 4, expires: never, fault: "SizeError: too big"},
	// Of two months, whatever the day is.
	{n: 30, user: anna, status: "expired", days: 11, expires: 10.5, url: "old/30.csv"},
	{n: 31, user: ben, status: "expired", days: 11.5, expires: 11, url: "old/31.csv"},
	{n: 32, user: anna, status: "expired", days: 42, expires: 41, url: "old/32.csv", noFile: true},
	{n: 33, user: ben, status: "failed", days: 42, expires: never, fault: "TimeoutError: late"},
	{n: 34, user: anna, status: "failed", days: 43, expires: never, url: "old/34.csv", fault: "SizeError: too big"},
	{n: 35, user: ben, status: "completed", days: 43, expires: never, url: "old/35.csv"},
	{n: 36, user: ben, status: "processing", days: 43, expires: never},
	{n: 37, user: ben, status: "expired", days: 43, expires: 42, url: "held/12.csv", noFile: true},
	{n: 38, user: ben, status: "completed", days: 43.5, expires: never},
	{n: 39, user: ben, status: "expired", days: 43.5, expires: 42, url: "https://elsewhere.example/old.csv"},
}

// more are what an erasure finds that is not dealt with.
var more = []row{
	{n: 50, user: anna, status: "completed", days: 3, expires: 2, url: "a/50.csv"},
	{n: 51, user: anna, status: "completed", days: 3, expires: -2, url: "a/51.csv"},
	{n: 52, user: anna, status: "expired", days: 3, expires: 2, url: "a/52.csv", noFile: true},
	{n: 53, user: anna, status: "failed", days: 3, expires: never, fault: "TimeoutError: late"},
}

func exportID(n int) string { return fmt.Sprintf("7f3c2a10-9b1e-4c55-8a54-%012x", n) }

// rows inserts rows as an application does, and puts their files where they say.
func (w *world) rows(t *testing.T, rows ...row) {
	t.Helper()
	db := w.open(t)
	defer db.Close()
	at := func(days float64) any {
		if days == never {
			return nil
		}
		return w.now.Add(-time.Duration(days * 24 * float64(time.Hour))).Format("2006-01-02T15:04:05.000Z")
	}
	optional := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	for _, r := range rows {
		content := strings.Repeat("x", 100+len(r.url)) // the same of rows with the same file
		var size any
		if r.url != "" {
			size = len(content)
		}
		values := []any{
			"8f3c" + exportID(r.n)[4:], exportID(r.n), r.user, at(r.days), "csv", `{"scope":"all"}`, 10, size, r.status, optional(r.url),
			at(r.expires), optional(r.fault), at(r.days), at(r.days - 0.001),
		}
		_, err := db.ExecContext(t.Context(), `INSERT INTO export_logs (id, export_id, user_id, timestamp, format, config, conversation_count,
			file_size, status, file_url, expires_at, error_message, created_at, updated_at) VALUES (`+w.marks(len(values))+`)`, values...)
		must(t, err)
		if size != nil && !r.noFile && !strings.Contains(r.url, "://") {
			must(t, w.exports.put(r.url, []byte(content)))
		}
	}
}

// make makes the world that a job begins with, and keeps it.
func (w *world) make(t *testing.T, j job) {
	t.Helper()
	must(t, w.fresh())
	w.archive = j.archive
	if !j.empty {
		w.command(t, "migrate", "--create-export-logs")
		w.rows(t, some...)
		for _, key := range []string{"stray/1.csv", "stray/found.csv", "stray/gone.csv"} {
			must(t, w.exports.put(key, []byte(key)))
		}
		w.command(t, "hold", "place", "--export", exportID(12), "--reason", "audit", "--by", "counsel")
		w.metrics(t)
		w.settled()
	}
	if j.prepare != nil {
		j.prepare(w, t)
	}
	must(t, w.keep())
}

// metrics imports what was measured of two exports, one of which has no row.
func (w *world) metrics(t *testing.T) {
	t.Helper()
	var lines []string
	for _, n := range []int{3, 90} {
		b, err := json.Marshal(map[string]any{
			"type": "export_metric", "export_id": exportID(n), "user_id": anna, "format": "csv", "status": "completed",
			"conversation_count": 10, "duration_ms": 1200, "file_size_bytes": 107,
			"timestamp": w.now.Add(-72 * time.Hour).Format(time.RFC3339),
		})
		must(t, err)
		lines = append(lines, string(b))
	}
	must(t, os.WriteFile(filepath.Join(w.dir, "metrics.jsonl"), []byte(strings.Join(lines, "\n")), 0o600))
	w.command(t, "import", "metrics.jsonl")
	must(t, os.Remove(filepath.Join(w.dir, "metrics.jsonl")))
}
