package cleanup_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// TestMain keeps the property test short; -rapid.checks makes it longer.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "30"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// model is what a table and a folder ought to become, row by row and the slow
// way. It knows nothing of the code it is compared with.
type model struct {
	rows  []*modelRow
	files map[string]bool
	fails map[string]bool // keys that storage will not delete
	byAge bool
}

type modelRow struct {
	id       string
	status   exportops.Status
	key      string // "" for none
	refused  bool
	may      string // what a refused row may name
	held     bool
	expires  string // past, future, never, unreadable, implausible
	old      bool   // created before the cut of a cleanup by age
	failures int
}

// outcome counts what a run ought to say. Which of several rows with one file
// gets the credit is not fixed, nor who was first after a crash.
type outcome struct {
	Found, Gone, NoFile, Failed, Shared, Held, Implausible, Quarantined, Updated, Would, Changed, InFlight, Remaining int64
}

func (r *modelRow) expired() bool { return r.status == exportops.Completed && r.expires == "past" }

func (m *model) due(r *modelRow) bool {
	if m.byAge {
		return r.status == exportops.Completed && r.old
	}
	return r.expired()
}

// names reports whether the file of another row is the row's as well, or may be.
func (r *modelRow) names(of *modelRow) bool {
	return r != of && of.key != "" && (r.key == of.key || r.may == of.key)
}

// kept reports whether another row needs the file.
func (m *model) kept(r *modelRow) bool {
	for _, o := range m.rows {
		if !o.names(r) {
			continue
		}
		if o.status == exportops.Queued || o.status == exportops.Processing {
			return true
		}
		if o.status == exportops.Completed && !m.due(o) && !o.expired() {
			return true
		}
	}
	return false
}

// keptByHold reports whether another row under a hold names the file.
func (m *model) keptByHold(r *modelRow) bool {
	return slices.ContainsFunc(m.rows, func(o *modelRow) bool { return o.names(r) && o.held })
}

// claims reports whether a run will ask storage to delete anything.
func (m *model) claims() bool {
	return slices.ContainsFunc(m.rows, func(r *modelRow) bool {
		return m.due(r) && r.key != "" && !r.refused && r.failures < exportops.QuarantineAfter && !m.kept(r) &&
			!r.held && !m.keptByHold(r)
	})
}

// run changes the model as a run ought to change the world. A dry one counts
// what storage would be asked for, and changes nothing.
func (m *model) run(dry bool) (o outcome) {
	kept := map[*modelRow]bool{}
	for _, r := range m.rows {
		kept[r] = m.kept(r)
	}
	var gone []*modelRow
	for _, r := range m.rows {
		o.Found++
		switch {
		case !m.byAge && r.status == exportops.Completed && r.expires == "implausible":
			o.Implausible++
		case !m.due(r):
			o.Found--
		case r.held:
			o.Held++
		case r.key == "" && !r.refused:
			o.NoFile++
			gone = append(gone, r)
		case r.failures >= exportops.QuarantineAfter:
			o.Quarantined++
		case r.refused:
			o.Failed++
			if !dry {
				r.failures++
			}
		case m.keptByHold(r):
			o.Held++
		case kept[r]:
			o.Shared++
		case dry:
			o.Would++
		case m.fails[r.key]:
			o.Failed++
			r.failures++
		default:
			o.Gone++
			gone = append(gone, r)
		}
	}
	if dry {
		return o
	}
	for _, r := range gone {
		r.status = exportops.Expired
		delete(m.files, r.key)
		o.Updated++
	}
	return o
}

func outcomeOf(r exportops.FileCleanupResult) outcome {
	return outcome{
		Found: r.TotalFound, Gone: r.DeletedCount + r.AlreadyAbsent, NoFile: r.NoFile, Failed: r.FailedCount, Shared: r.Shared, Held: r.Held,
		Implausible: r.Implausible, Quarantined: r.Quarantined, Updated: r.LogsUpdated, Would: r.WouldDelete,
		Changed: r.Changed, InFlight: r.InFlight, Remaining: r.Remaining,
	}
}

// drawRow makes a row up, for the world and for the model.
func drawRow(t *rapid.T, w *testworld.World, n int) (row, *modelRow) {
	m := &modelRow{
		id:     id(n),
		status: rapid.SampledFrom(append([]exportops.Status{exportops.Completed, exportops.Completed, exportops.Completed}, exportops.Statuses...)).Draw(t, "status"),
		// Most expired, so that runs have something to do.
		expires: rapid.SampledFrom([]string{"past", "past", "past", "past", "future", "never", "unreadable", "implausible"}).Draw(t, "expires"),
		old:     rapid.Bool().Draw(t, "old"),
	}
	r := row{ExportID: m.id, Status: m.status, Created: w.Ago(10 * day)}
	if !m.old {
		r.Created = w.Ago(6 * day)
	}
	r.Expires = map[string]string{
		"past": w.Ago(day), "future": w.Ago(-day), "never": never, "unreadable": "31.10.2025", "implausible": w.Ago(20 * day),
	}[m.expires]
	key := fmt.Sprintf("a b/%d", rapid.IntRange(0, 7).Draw(t, "key"))
	escaped := "a%20b" + key[len("a b"):]
	switch rapid.SampledFrom([]string{"none", "on demand", "refused", "plain", "escaped", "s3", "file", "https"}).Draw(t, "form") {
	case "none":
	case "on demand":
		r.URL = "/api/export/download/x.json"
	case "refused":
		m.refused = true
		r.URL = rapid.SampledFrom([]string{"../" + key, "s3://elsewhere/" + key, "https://elsewhere.example.com/exports/" + escaped}).Draw(t, "refused")
		if !strings.HasPrefix(r.URL, "s3:") { // which plainly is another bucket's
			m.may = key
		}
	case "plain":
		m.key, r.URL = key, key
	case "escaped":
		m.key, r.URL = key, escaped
	case "s3":
		m.key, r.URL = key, "s3://exports/"+key
	case "file":
		m.key, r.URL = key, "file://"+w.Folder+"/"+escaped
	case "https":
		m.key, r.URL = key, "https://files.example.com/exports/"+escaped
	}
	return r, m
}

// TestCleanupsEqualAModel runs cleanups, with crashes in between, over tables
// of all sorts, and compares every result and every end with the model's.
func TestCleanupsEqualAModel(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		w := testworld.New(t, outer.TempDir())
		w.Files.Batch = rapid.IntRange(1, 12).Draw(t, "batch")
		w.Files.Fail = map[string]error{}
		m := &model{files: map[string]bool{}, fails: map[string]bool{}}
		req := cronCall
		if m.byAge = rapid.Bool().Draw(t, "by age"); m.byAge {
			hours := 8 * 24
			req.RetentionHours = &hours
		}
		w.Write("kept", "x")
		m.files["kept"] = true
		for n := range rapid.IntRange(0, 30).Draw(t, "rows") {
			r, mr := drawRow(t, w, n)
			w.Insert(r)
			m.rows = append(m.rows, mr)
			if mr.held = rapid.IntRange(0, 9).Draw(t, "held") == 0; mr.held {
				_, err := w.Store.PlaceHold(t.Context(), holdOn(mr.id), w.Locator)
				w.Must(err)
			}
			if mr.key == "" || m.files[mr.key] {
				continue
			}
			if rapid.IntRange(0, 4).Draw(t, "file") > 0 {
				w.Write(mr.key, "content")
				m.files[mr.key] = true
			}
			if rapid.IntRange(0, 9).Draw(t, "fails") == 0 {
				w.Files.Fail[mr.key] = errors.New("permission denied")
				m.fails[mr.key] = true
			}
		}
		for range rapid.IntRange(1, 7).Draw(t, "runs") {
			m.step(t, w, req)
		}
	})
}

// step is one dry run and one real one, with up to two crashes before it ends, and
// then perhaps a stop.
func (m *model) step(t *rapid.T, w *testworld.World, req jobs.Request) {
	dry := req
	dry.DryRun = true
	a, err := w.Runner().Run(t.Context(), dry)
	w.Must(err)
	equal(t, "dry run", outcomeOf(*a.Result.Files), m.run(true))

	crashes := rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "crashes")
	for range crashes {
		if !m.claims() {
			break
		}
		crash(t, w, req, rapid.Bool().Draw(t, "before the deletion"))
	}
	a.Pending = true
	if rapid.Bool().Draw(t, "stopped") {
		a = stop(t, w, req)
		if open := w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`); crashes == 0 && open > 0 {
			t.Fatalf("%d claims are open after a stop", open)
		}
	}
	if a.Pending {
		a, err = w.Runner().Run(t.Context(), req)
		w.Must(err)
	}
	equal(t, "result", outcomeOf(*a.Result.Files), m.run(false))
	equal(t, "complete", a.Result.Files.Complete, true)
	for _, r := range m.rows {
		equal(t, "status of "+r.id, w.Statuses()[r.id], r.status)
	}
	for _, key := range w.Keys() {
		if !m.files[key] {
			t.Fatalf("%s is still there", key)
		}
	}
	equal(t, "files", len(w.Keys()), len(m.files))
}

// stop has a run told to stop while storage is at work on one of its pages.
func stop(t *rapid.T, w *testworld.World, req jobs.Request) jobs.Answer {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	page := rapid.IntRange(1, 3).Draw(t, "stopped at page")
	w.Files.Before = func([]string) error {
		if page--; page == 0 {
			cancel()
		}
		return nil
	}
	a, err := w.Runner().Run(ctx, req)
	w.Must(err)
	w.Files.Before = nil
	return a
}

// crash lets a run die at its first deletion, before it or after.
func crash(t *rapid.T, w *testworld.World, req jobs.Request, before bool) {
	died := false
	if before {
		w.Files.Before = func([]string) error { died = true; panic(errCrash) }
	} else {
		w.Files.Change = func([]string, []exportops.FileResult) error { died = true; panic(errCrash) }
	}
	func() {
		defer func() {
			if p := recover(); p != nil && p != errCrash { //nolint:errorlint // the very value
				panic(p) // a failure of the test, or another crash
			}
		}()
		_, err := w.Runner().Run(t.Context(), req)
		w.Must(err)
	}()
	if !died {
		t.Fatalf("the run had nothing to delete")
	}
	w.Files.Before, w.Files.Change = nil, nil
	w.Clock.Advance(time.Minute)
}

func equal[T comparable](t *rapid.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s is %+v, want %+v", what, got, want)
	}
}
