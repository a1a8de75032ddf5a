//go:build linux && (amd64 || arm64)

package killsweep_test

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
	"github.com/exportops/exportops/metrics"
)

// skipped are tables that need not be the same: of runs, with their times and tokens,
// of the chain, which is verified, and of rollups, which are made again from rows as
// long as there are any: what they add up to is compared.
var skipped = []string{
	"runs", "workers", "run_keys", "schedules", "erasure_key", "deletion_links", "deletion_days", "schema_version", "goose_db_version",
	"rollup_hours", "rollup_days", "rollups", "rollup_users", "rollup_errors",
}

// passing are columns, and fields of answers, that differ from run to run.
var passing = []string{
	"seq", "run_id", "token", "attempts", "version", "modified", "salt", "digest", "content", "chain_day", "chain_seq", "chain_hash",
	"updated_at", "received_at", "claimed_at", "finished_at", "next_try_at", "first_seen", "last_seen", "placed_at", "user_hash",
	"timestamp", "duration_ms", "period_start", "period_end", "recovered", "schema_before",
	"archived_size_bytes", "began_at", "plan", "tstamp", "epoch",
	"body", "fired_at", "resolved_at", "at", "incident_id", "value", // of incidents, whose rule, subject and state stay
	// What a process did and died before it counted it: the next one finds it done.
	"hours_closed", "observed",
}

// together are counts of which one rises for the other where a run died after it
// asked storage: what it finds absent then was deleted by itself, as far as anybody
// can know.
var together = [][2]string{{"deleted_count", "already_absent"}, {"files_deleted", "files_absent"}}

// look sees what is there after a command that ended so.
func (w *world) look(t *testing.T, j job, status int, said string) left {
	t.Helper()
	l := left{status: status, said: w.mask(answerOf(t, said))}
	for name, s := range map[string]store{"exports": w.exports, "archives": w.cold} {
		files, err := s.all()
		must(t, err)
		if name == "archives" {
			l.world = append(l.world, archived(t, files)...)
			continue
		}
		for key, content := range files {
			l.world = append(l.world, fmt.Sprintf("file %s: %d bytes, %x", key, len(content), sha256.Sum256(content)))
		}
	}
	db := w.open(t)
	defer db.Close()
	l.ledger = map[string]string{}
	for _, name := range w.names(t, db) {
		if short := strings.TrimPrefix(name, w.own("")); slices.Contains(skipped, short) || strings.HasPrefix(short, "river_") {
			continue
		}
		short := strings.TrimPrefix(name, w.own(""))
		for _, r := range w.all(t, db, name) {
			if short == "deletions" {
				entry, proof := proofOf(r)
				l.ledger[encode(t, entry)] = proof
			}
			if line := lineOf(t, short, r); line != "" {
				l.world = append(l.world, w.mask(line))
			}
		}
		l.world = append(l.world, "table "+short)
	}
	for _, r := range w.all(t, db, w.own("runs")) {
		if r["state"] == "running" {
			l.world = append(l.world, "a run is not ended")
		} else {
			l.ended++
		}
	}
	l.world = append(l.world, w.verified(t)...)
	slices.Sort(l.world)
	return l
}

// verified is what the program says of its ledger, and of what it has counted.
func (w *world) verified(t *testing.T) []string {
	t.Helper()
	db, err := w.database(t.Context())
	must(t, err)
	defer db.Close()
	ledger, err := exportops.VerifyChain(t.Context(), db, 0, exportops.At(w.now))
	must(t, err)
	hour := w.now.Truncate(time.Hour)
	sum, err := metrics.New(db, metrics.Options{}).Aggregate(t.Context(),
		exportops.At(hour.Add(-60*24*time.Hour)), exportops.At(hour.Add(-time.Hour)), exportops.Daily)
	must(t, err)
	return []string{
		fmt.Sprintf("ledger: %v, %d entries without a link", ledger.Breaks, ledger.Unchained), "metrics: " + encode(t, sum),
	}
}

// answerOf is an answer without what differs from run to run.
func answerOf(t *testing.T, said string) string {
	t.Helper()
	if said == "" {
		return ""
	}
	var v any
	if err := json.Unmarshal([]byte(said), &v); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return encode(t, without(v))
}

// without leaves out what passes, at every depth.
func without(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range passing {
			delete(v, name)
		}
		delete(v, "id")
		for _, pair := range together {
			if a, ok := v[pair[0]].(float64); ok {
				if b, ok := v[pair[1]].(float64); ok {
					delete(v, pair[1])
					v[pair[0]] = a + b
				}
			}
		}
		delete(v, "bytes_freed") // nobody knows of files that are gone already
		for name := range v {
			v[name] = without(v[name])
		}
	case []any:
		for i := range v {
			v[i] = without(v[i])
		}
	}
	return v
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v) // of maps, in the order of the names
	must(t, err)
	return string(b)
}

// all reads a table.
func (w *world) all(t *testing.T, db *sql.DB, table string) (all []map[string]any) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT * FROM `+table)
	must(t, err)
	defer rows.Close()
	names, err := rows.Columns()
	must(t, err)
	for rows.Next() {
		values := make([]any, len(names))
		for i := range values {
			values[i] = new(any)
		}
		must(t, rows.Scan(values...))
		r := map[string]any{}
		for i, v := range values {
			r[names[i]] = *v.(*any)
			if b, ok := r[names[i]].([]byte); ok {
				if r[names[i]] = hex.EncodeToString(b); json.Valid(b) {
					r[names[i]] = string(b)
				}
			}
		}
		all = append(all, r)
	}
	must(t, rows.Err())
	return all
}

// proofOf returns what tells an entry of the ledger from others, and how it is known
// to have ended so. It takes out of r what need not be the same where a run died after
// it asked storage.
func proofOf(r map[string]any) (entry []any, proof string) {
	entry = []any{r["export_id"], r["key"], r["mode"]}
	proof = fmt.Sprint(r["state"], " ", r["evidence"], " ", r["bytes"])
	if r["evidence"] == afterAttempt && fmt.Sprint(r["attempts"]) != "1" {
		proof = afterAttempt
	}
	if r["state"] == "deleted" || r["state"] == "absent" {
		r["state"] = "gone"
		delete(r, "evidence")
		delete(r, "bytes")
	}
	return entry, proof
}

// afterAttempt is the evidence of a file that was found absent after an attempt to
// delete it that nobody heard of any more.
const afterAttempt = "absent_after_attempt"

// lineOf is what must be the same of a row, "" for nothing.
func lineOf(t *testing.T, table string, r map[string]any) string {
	t.Helper()
	for _, name := range passing {
		if table != "export_logs" || name == "updated_at" {
			delete(r, name)
		}
	}
	switch table {
	case "export_logs":
	case "archives": // what was given up was never relied upon, and its number is used up
		if never := fmt.Sprint(r["deleted"]) == "0"; r["state"] == "abandoned" || (r["state"] == "removed" && never) {
			return ""
		}
		r = map[string]any{"state": r["state"], "month": r["month"], "rows": r["rows"], "deleted": r["deleted"]}
	case "erasures":
		var receipt any
		must(t, json.Unmarshal([]byte(r["receipt"].(string)), &receipt))
		r = map[string]any{"receipt": without(receipt)}
	default:
		delete(r, "id")
	}
	return "row of " + table + ": " + encode(t, r)
}

// archived are the rows of all archives that there are.
func archived(t *testing.T, files map[string][]byte) (lines []string) {
	t.Helper()
	manifests := 0
	for _, key := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(key, ".json") {
			manifests++
		}
		if !strings.HasSuffix(key, ".parquet") {
			continue
		}
		r, err := archive.Open(bytes.NewReader(files[key]), int64(len(files[key])))
		must(t, err)
		for row, err := range r.Rows() {
			must(t, err)
			var fields map[string]any
			must(t, json.Unmarshal([]byte(encode(t, row)), &fields))
			delete(fields, "updated_at") // when its file went
			lines = append(lines, "archived: "+encode(t, fields))
		}
		manifests--
	}
	return append(lines, fmt.Sprintf("%d manifests more than archives", manifests))
}
