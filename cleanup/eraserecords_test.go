package cleanup_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// comparedAll is where a reconciliation has written down what is missing, and has not
// ended.
type comparedAll struct {
	*archivesStore
	meet func()
}

func (s comparedAll) MissingFiles(ctx context.Context, f exportops.MissingFilter) ([]exportops.MissingFile, error) {
	s.meet()
	return s.archivesStore.MissingFiles(ctx, f)
}

// missingFile is a world in which a file of the person is missing.
func missingFile(t testing.TB, key string) *testworld.World {
	t.Helper()
	w := newWorld(t)
	w.Insert(
		row{ExportID: id(1), UserID: person, URL: key, Expires: w.Ago(-30 * day), Timestamp: w.Ago(10 * day)},
		row{ExportID: id(2), URL: "gone", Expires: w.Ago(-30 * day), Timestamp: w.Ago(10 * day)},
		row{ExportID: id(3), URL: "there", Expires: w.Ago(-30 * day), Timestamp: w.Ago(10 * day)},
	)
	w.Write("there", "x")
	return w
}

// meets runs a reconciliation that meets what happens in its midst.
func meets(t testing.TB, w *testworld.World, happens func()) (jobs.Answer, error) {
	t.Helper()
	once := false
	a, err := runOrDie(t, w.Runner(func(o *jobs.Options) {
		o.Store = comparedAll{&archivesStore{o.Store}, func() {
			if !once {
				once = true
				happens()
			}
		}}
	}), byHand)
	if !once {
		t.Fatal("nothing was met")
	}
	return a, err
}

// wantReceipt erases the person, after which nothing has any of the texts.
func wantReceipt(t testing.TB, w *testworld.World, texts ...string) {
	t.Helper()
	a, err := w.Runner().Run(t.Context(), eraseCall)
	w.Must(err)
	if a.Result.Erased.Receipt == nil {
		t.Fatalf("no receipt: %s", a.Failure)
	}
	wantNotNamed(t, w, texts...)
}

func TestAnErasureKnowsTheExportsThatRecordsAreAbout(t *testing.T) {
	w := missingFile(t, "secret")
	w.Insert(row{ExportID: id(4), UserID: person, Status: exportops.Processing, Timestamp: w.Ago(10 * day), Expires: never})
	reconcile(t, w)
	wantReceipt(t, w, person, id(1), "secret", id(4))
	wantList(t, "missing", missing(w), id(2))
	want(t, "results that name another's", w.Count(`SELECT count(*) FROM exportops_runs WHERE result LIKE '%`+id(2)+`%'`), 1)
}

func TestAnErasureTakesAnIDInCapitals(t *testing.T) {
	w := missingFile(t, "secret")
	req := eraseCall
	req.UserID = strings.ToUpper(person)
	a, err := w.Runner().Run(t.Context(), req)
	w.Must(err)
	if rows := w.Count(`SELECT count(*) FROM export_logs WHERE user_id = ?`, person); a.Result.Erased.Receipt == nil || rows > 0 {
		t.Errorf("receipt %v, and %d rows are left", a.Result.Erased.Receipt, rows)
	}
}

func TestAnErasureWaitsForAReconciliation(t *testing.T) {
	w := missingFile(t, "secret")
	_, err := meets(t, w, func() {
		a, err := hasty(t, w)
		w.Must(err)
		if a.Result.Erased.Receipt != nil || !strings.Contains(a.Failure, ", 1 of runs that are at work") {
			t.Errorf("receipt %v, %q", a.Result.Erased.Receipt, a.Failure)
		}
		want(t, "rows", w.Count(`SELECT count(*) FROM export_logs`), 3)
	})
	w.Must(err)
	wantReceipt(t, w, person, id(1), "secret")
}

func TestAnErasureIsNotHeldUpByADeadReconciliation(t *testing.T) {
	w := missingFile(t, "secret")
	_, err := meets(t, w, func() { panic(errCrash) })
	w.Must(err)
	w.Clock.Advance(time.Minute)
	wantReceipt(t, w, person, id(1), "secret")
}

func TestAnErasureTellsOfFilesThatNoRowNames(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), URL: "f", Expires: never})
	w.Write("f", "x")
	w.WriteAt(person+"/stray", "x", w.Clock.Now().Add(-day))
	reconcile(t, w)
	a, err := w.Runner().Run(t.Context(), eraseCall)
	w.Must(err)
	if a.Result.Erased.Receipt != nil || !strings.HasSuffix(a.Failure, ", 0 others, 1 files that no row names: exportops reconcile ls") {
		t.Errorf("receipt %v, %q", a.Result.Erased.Receipt, a.Failure)
	}
	wantKeys(t, w, person+"/stray", "f")
}

// The last hour that there is never ends: what lies in it is not counted, and so not
// deleted.
func TestAnErasureThatLeavesARowSaysSo(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), UserID: person, Timestamp: "9999-12-31T23:30:00.000Z", Status: exportops.Failed})
	a, err := w.Runner().Run(t.Context(), eraseCall)
	w.Must(err)
	if a.Result.Erased.Receipt != nil || !strings.Contains(a.Failure, ", 1 not reached") || a.Run.State != exportops.RunFailed {
		t.Errorf("receipt %v, %q, and it is %s", a.Result.Erased.Receipt, a.Failure, a.Run.State)
	}
}

// stubborn is where a trace counts as erased, and stays.
type stubborn struct{ *archivesStore }

func (s stubborn) Traces(ctx context.Context, user string, of func(exportops.TraceKind) bool, after exportops.Cursor, limit int) (
	[]exportops.Trace, exportops.Cursor, error,
) {
	if of != nil && !of(exportops.TraceSilence) {
		return s.archivesStore.Traces(ctx, user, of, after, limit)
	}
	return []exportops.Trace{{Kind: exportops.TraceSilence, Key: "1"}}, "", nil
}

func (s stubborn) EraseTraces(ctx context.Context, c exportops.Checkpoint, _ string, found []exportops.Trace, p exportops.TraceProgress) (int64, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	var err error
	c.Progress, err = p(int64(len(found)))
	if err != nil {
		return 0, err
	}
	return int64(len(found)), s.Renew(ctx, c)
}

func TestAnErasureEndsWhereATraceStays(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	a, err := w.Runner(func(o *jobs.Options) { o.Store = stubborn{&archivesStore{o.Store}} }).Run(ctx, eraseCall)
	w.Must(err)
	if a.Result.Erased.Receipt != nil || a.Result.Erased.Left != 1 {
		t.Errorf("receipt %v, %d left", a.Result.Erased.Receipt, a.Result.Erased.Left)
	}
}
