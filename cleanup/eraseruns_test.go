package cleanup_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// waiting lets something happen when an erasure looks which runs are at work: for the
// second time where it waits for one of them.
type waiting struct {
	*archivesStore
	mu    sync.Mutex
	looks int
	look  int
	then  func()
}

func (s *waiting) ActiveRuns(ctx context.Context) ([]exportops.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.looks++; s.looks == s.look {
		s.then()
	}
	return s.archivesStore.ActiveRuns(ctx)
}

// erasing begins to erase the person, and returns when that waits for what is at work, or
// has ended. End gives the receipt.
func erasing(t testing.TB, w *testworld.World, change ...func(*jobs.Options)) (end func() *exportops.Erasure) {
	t.Helper()
	waits, ends := make(chan struct{}), make(chan struct{})
	var a jobs.Answer
	var err error
	go func() {
		defer close(ends)
		a, err = w.Runner(append(change, func(o *jobs.Options) {
			o.Store = &waiting{archivesStore: &archivesStore{o.Store}, look: 2, then: func() { close(waits) }}
		})...).Run(t.Context(), eraseCall)
	}()
	select {
	case <-waits:
	case <-ends:
	}
	return func() *exportops.Erasure {
		<-ends
		w.Must(err)
		if a.Result.Erased.Receipt == nil {
			t.Fatalf("no receipt: %s", a.Failure)
		}
		return a.Result.Erased.Receipt
	}
}

// hasty erases the person as somebody does who has no time to wait.
func hasty(t testing.TB, w *testworld.World) (jobs.Answer, error) {
	t.Helper()
	req := eraseCall
	req.Budget = time.Second
	return w.Runner(func(o *jobs.Options) {
		o.Store = &waiting{archivesStore: &archivesStore{o.Store}, look: 2, then: func() { w.Clock.Advance(2 * time.Second) }}
	}).Run(t.Context(), req)
}

// refusedAndDue is a world with an export of the person whose URL no cleanup takes, and
// which has the person's id in it, and another to delete.
func refusedAndDue(t testing.TB) *testworld.World {
	t.Helper()
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), UserID: person, URL: person + "/../x", Timestamp: w.Ago(10 * day)}, row{ExportID: id(2), URL: "f"})
	w.Write("f", "x")
	return w
}

// corrected is what the application does about the URL.
func corrected(w *testworld.World) {
	w.Exec(`UPDATE export_logs SET file_url = NULL WHERE export_id = ?`, id(1))
}

func wantNotNamed(t testing.TB, w *testworld.World, texts ...string) {
	t.Helper()
	for _, line := range w.Dump() {
		for _, text := range texts {
			if strings.Contains(strings.ToLower(line), text) {
				t.Errorf("%s is left: %s", text, line)
			}
		}
	}
}

// A cleanup that has refused a file has the reason in memory while storage is at work.
func TestAnErasureWaitsForAFileCleanup(t *testing.T) {
	w := refusedAndDue(t)
	var end func() *exportops.Erasure
	w.Files.Before = func([]string) error {
		w.Files.Before = nil
		corrected(w)
		end = erasing(t, w)
		return nil
	}
	res := clean(t, w)
	if res.FailedCount != 1 || !strings.Contains(fmt.Sprint(res.Errors), person) {
		t.Fatalf("the cleanup says %+v, and is to name the person", res)
	}
	end()
	wantNotNamed(t, w, person, id(1))
}

func TestAnErasureThatCannotWaitGivesNoReceipt(t *testing.T) {
	w := refusedAndDue(t)
	w.Files.Before = func([]string) error {
		w.Files.Before = nil
		corrected(w)
		a, err := hasty(t, w)
		w.Must(err)
		if a.Result.Erased.Receipt != nil || !strings.Contains(a.Failure, ", 1 of runs that are at work") {
			t.Errorf("receipt %v, %q", a.Result.Erased.Receipt, a.Failure)
		}
		want(t, "the person's rows", w.Count(`SELECT count(*) FROM export_logs WHERE user_id = ?`, person), 0)
		return nil
	}
	clean(t, w)
	wantReceipt(t, w, person, id(1))
}

// Whoever was taken for dead, and wakes up, has read the person's rows.
func TestAnErasureEndsARunThatIsTakenForDead(t *testing.T) {
	w := refusedAndDue(t)
	w.Files.Before = func([]string) error {
		w.Files.Before = nil
		corrected(w)
		w.Clock.Advance(time.Minute)
		wantReceipt(t, w, person, id(1))
		return nil
	}
	a, err := w.Runner().Run(t.Context(), cronCall)
	if err == nil {
		t.Errorf("the run that was taken for dead says %+v", a.Result.Files)
	}
	wantNotNamed(t, w, person, id(1))
}

// That a run failed a stuck export, its record alone says when the row is gone.
func TestAnErasureLeavesTheRowsThatTellWhatARunAtWorkIsAbout(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), UserID: person, Status: exportops.Processing, Timestamp: w.Ago(10 * day), Expires: never})
	_, err := meets(t, w, func() {
		a, err := hasty(t, w)
		w.Must(err)
		if a.Result.Erased.Receipt != nil {
			t.Errorf("a receipt: %+v", a.Result.Erased)
		}
	})
	w.Must(err)
	wantReceipt(t, w, person, id(1))
}

// A receipt proves all that was done to the user since the last one.
func TestAReceiptCountsWhatErasuresBeforeItDid(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), UserID: person, URL: "f1"}, row{ExportID: id(2), UserID: person, URL: "f2"})
	w.Write("f1", "x")
	w.Write("f2", "x")
	erase := func() *exportops.Erasure {
		w.Clock.Advance(time.Second)
		a, err := w.Runner().Run(t.Context(), eraseCall)
		w.Must(err)
		return a.Result.Erased.Receipt
	}
	h := hold(t, w, exportops.HoldExport, id(2))
	if r := erase(); r != nil {
		t.Fatalf("a receipt in spite of a hold: %+v", r)
	}
	release(w, h)
	r := erase()
	want(t, "files and rows of the receipt", []int64{r.Files, r.Rows}, []int64{2, 2})
	r = erase()
	want(t, "files and rows of the next", []int64{r.Files, r.Rows}, []int64{0, 0})
}

// A hold may come when there is nothing left to hold.
func TestThereIsNoReceiptUnderAHold(t *testing.T) {
	for scope, subject := range map[exportops.HoldScope]string{exportops.HoldUser: person, exportops.HoldAll: ""} {
		w := newWorld(t)
		w.Insert(row{ExportID: id(1), UserID: person, URL: "f1"})
		w.Write("f1", "x")
		var h exportops.Hold
		_, err := w.Runner(func(o *jobs.Options) {
			o.Store = &waiting{archivesStore: &archivesStore{o.Store}, look: 1, then: func() { h = hold(t, w, scope, subject) }}
		}).Run(t.Context(), eraseCall)
		if !exportops.IsKind(err, exportops.KindRefused) || w.Count(`SELECT count(*) FROM exportops_erasures`) > 0 {
			t.Errorf("under a hold of %s: %v", scope, err)
		}
		release(w, h)
		wantReceipt(t, w, person, id(1))
	}
}

// What an erasure before has recorded may not be readable. That is said, and keeps nobody
// from being erased.
func TestAnErasureWhoseRecordCannotBeRead(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), UserID: person, Status: exportops.Processing, Expires: never})
	_, err := w.Runner().Run(t.Context(), eraseCall)
	w.Must(err)
	w.Exec(`UPDATE exportops_runs SET result = '{"deleted_count":"many"}'`)
	w.Exec(`UPDATE export_logs SET status = 'failed'`)
	if _, err := w.Runner().Run(t.Context(), eraseCall); err == nil || !strings.Contains(err.Error(), "erase the user again") {
		t.Fatalf("the error is %v", err)
	}
	wantReceipt(t, w, person, id(1))
}
