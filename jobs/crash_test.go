package jobs_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
)

// fileAndLogs are the two jobs that delete.
var fileAndLogs = []exportops.Job{exportops.FileCleanup, exportops.LogCleanup}

// populate fills a world with something of everything, always the same.
func populate(w *testworld.World, files, logs int) {
	w.Helper()
	var rows []row
	for i := range files {
		r := row{ExportID: id(i), URL: fmt.Sprintf("u%d/f%d", i%7, i), Timestamp: w.Ago(4*day + time.Duration(i)*time.Second)}
		switch i % 50 {
		case 1:
			r.URL = "" // nothing is stored
		case 2, 3, 4: // three with one file
			r.URL = fmt.Sprintf("s3://exports/shared/%d", i/50)
			w.Write(fmt.Sprintf("shared/%d", i/50), "x")
		case 5:
			r.Expires = never
		case 6:
			r.URL = "s3://elsewhere/x"
		case 7:
			r.Expires = w.Ago(-day)
		case 8:
			r.Created = w.Ago(day) // implausible
		}
		if r.URL != "" && i%50 != 9 && (i%50 < 2 || i%50 > 4) { // the file of the ninth is gone
			w.Write(r.URL, "content")
		}
		rows = append(rows, r)
	}
	for i := range logs {
		r := row{ExportID: id(1_000_000 + i), Status: exportops.Failed, Error: "Timeout: late", Timestamp: w.Ago(40*day + time.Duration(i)*time.Minute)}
		switch i % 10 {
		case 1, 2: // another tool says that it expired
			r.Status, r.Error, r.URL = exportops.Expired, "", fmt.Sprintf("old/f%d", i)
			w.Write(r.URL, "content")
		case 3:
			r.Status = exportops.Processing
		case 4:
			r.Status, r.Error = exportops.Completed, ""
		}
		rows = append(rows, r)
	}
	w.Insert(rows...)
}

// state is all that must be the same in the end, however often the jobs died.
type state struct {
	Rows      map[string]exportops.Status
	Files     []string
	Ledger    []string // the last word on every export; absence after an attempt is a deletion
	Aggregate exportops.Summary
	Runs      []string // what each job's runs counted in all
}

func stateOf(t testing.TB, w *testworld.World) state {
	t.Helper()
	year, err := w.Metrics().Aggregate(t.Context(), exportops.At(testworld.Noon.Add(-365*day)), exportops.At(testworld.Noon), exportops.Daily)
	w.Must(err)
	s := state{
		Rows: w.Statuses(), Files: w.Keys(), Aggregate: year,
		Ledger: w.Strings(`SELECT export_id || ' ' || iif(state = 'absent', 'deleted', state) || ' ' || coalesce(key, '')
			FROM exportops_deletions d WHERE id = (SELECT max(id) FROM exportops_deletions x WHERE x.export_id = d.export_id)
			ORDER BY export_id`),
		Runs: w.Strings(`SELECT job || ' found ' || sum(result ->> 'total_found')
			|| ' deleted ' || sum(result ->> 'deleted_count' + coalesce(result ->> 'already_absent', 0))
			|| ' failed ' || sum(result ->> 'failed_count') || ' updated ' || coalesce(sum(result ->> 'logs_updated'), 0)
			|| ' no_file ' || coalesce(sum(result ->> 'no_file'), 0) || ' shared ' || coalesce(sum(result ->> 'kept_shared'), 0)
			|| ' changed ' || coalesce(sum(result ->> 'changed'), 0) || ' remaining ' || sum(result ->> 'remaining')
			|| ' files ' || coalesce(sum(result ->> 'files_deleted' + result ->> 'files_absent'), 0)
			FROM exportops_runs GROUP BY job ORDER BY job`),
	}
	slices.Sort(s.Files)
	return s
}

// TestKilledAtAnyMoment kills a process that runs both jobs again and again,
// wherever it happens to be, and compares what is left in the end with what an
// undisturbed process leaves.
func TestKilledAtAnyMoment(t *testing.T) {
	files, logs, kills := 3000, 3000, 10
	if testing.Short() || raced {
		files, logs, kills = 500, 500, 4
	}
	calm := newWorld(t)
	populate(calm, files, logs)
	began := time.Now()
	if _, ended := child(t, order{Dir: calm.Dir, Jobs: fileAndLogs}, 0); !ended {
		t.Fatal("the undisturbed process did not end")
	}
	whole := time.Since(began)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, undisturbed %s", seed, whole)
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	populate(w, files, logs)
	died, minute := 0, 0
	for left := fileAndLogs; len(left) > 0; minute++ {
		after := time.Duration(random.Int64N(int64(whole)/3)) + time.Millisecond
		if died >= kills {
			after = 0
		}
		if _, ended := child(t, order{Dir: w.Dir, Minutes: minute, Jobs: left}, after); !ended {
			died++
		}
		// What has come to its end is not started again: what failed then would be
		// tried, and counted, once more.
		left = slices.DeleteFunc(slices.Clone(left), func(j exportops.Job) bool {
			return w.Count(`SELECT count(*) FROM exportops_runs WHERE state <> 'running' AND job = '`+string(j)+`'`) > 0
		})
	}
	t.Logf("died %d times, taken over %d times, recovered %d claims", died, w.Count(`SELECT sum(takeovers) FROM exportops_runs`),
		w.Count(`SELECT sum(result ->> 'recovered') FROM exportops_runs`))
	want(t, "state", stateOf(t, w), stateOf(t, calm), cmpopts.EquateApprox(1e-9, 0))
	want(t, "claims left open", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`), 0)
}
