package cleanup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

const person = "a1b2c3d4-1111-4222-8333-c0ffee00beef"

var eraseCall = jobs.Request{Job: exportops.EraseUser, Trigger: exportops.ByAPI, UserID: person}

// erasable is a world whose archives hold a person and others: one of June, which
// holds nobody else, and two more.
type erasable struct {
	*archives
	kept map[string][sha256.Size]byte // archived rows of others
	rows int64                        // archived ones of the person
}

func newErasable(t testing.TB) *erasable {
	t.Helper()
	return prepare(t, newArchives(t))
}

// copies returns worlds that are all as newErasable has them, and made faster.
func copies(t *testing.T) func(testing.TB) *erasable {
	t.Helper()
	dir := t.TempDir()
	t.Run("prepare", func(t *testing.T) { // the database is closed when it ends
		e := newErasable(t)
		e.Must(e.Store.Scrub(t.Context()))
		e.Must(os.CopyFS(filepath.Join(dir, "world"), os.DirFS(e.Dir)))
	})
	return func(t testing.TB) *erasable {
		t.Helper()
		to := filepath.Join(t.TempDir(), "world")
		if err := os.CopyFS(to, os.DirFS(filepath.Join(dir, "world"))); err != nil {
			t.Fatal(err)
		}
		w := testworld.New(t, to)
		return (&archives{World: w, to: w.Objects()}).seen(t)
	}
}

func prepare(t testing.TB, a *archives) *erasable {
	t.Helper()
	for i, n := range []int{0, 3, 4, 8} {
		user := person
		if i == 1 { // any program may have written it
			user = strings.ToUpper(person)
		}
		a.Exec(`UPDATE export_logs SET user_id = ?, error_message = 'Timeout: ' || ? WHERE export_id = ?`, user, user, id(n))
	}
	a.Insert(
		row{ExportID: id(30), UserID: person, Status: exportops.Failed, Expires: never, Timestamp: a.Ago(130 * day)},
		row{ExportID: id(31), UserID: person, URL: person + "/x", Timestamp: a.Ago(4 * day)},
	)
	a.Write(person+"/x", "content")
	a.Insert(row{ExportID: id(32), UserID: strings.ToUpper(person), Status: exportops.Failed, Expires: never, Timestamp: a.Ago(3 * day)})
	a.mustRun(t)
	return a.seen(t)
}

// seen notes what the archives hold of others.
func (a *archives) seen(t testing.TB) *erasable {
	t.Helper()
	e := &erasable{archives: a, kept: map[string][sha256.Size]byte{}}
	rows, _ := a.Archived(a.to)
	for id, r := range rows {
		if strings.EqualFold(r.UserID, person) {
			e.rows++
			continue
		}
		e.kept[id] = r.Hash()
	}
	return e
}

// through makes a runner use other objects than the world's, and another store.
func through(to exportops.ObjectStore, store func(jobs.Store) jobs.Store) func(*jobs.Options) {
	return func(o *jobs.Options) {
		o.Store = store(o.Store)
		o.Archives = &archive.Keeper{Store: o.Store, Objects: to, Program: "exportops test"}
	}
}

func (e *erasable) erase(t testing.TB, change ...func(*jobs.Options)) (exportops.ErasureResult, error) {
	t.Helper()
	answer, err := e.Runner(append([]func(*jobs.Options){e.Archiving(e.to)}, change...)...).Run(t.Context(), eraseCall)
	if answer.Result.Erased == nil {
		t.Fatalf("there is no result: %v", err)
	}
	if err == nil && answer.Failure != "" {
		err = errors.New(answer.Failure)
	}
	return *answer.Result.Erased, err
}

// wantErased fails unless nothing anywhere names the person, the rows of others are
// what they were, and nothing is left in the middle.
func (e *erasable) wantErased(t testing.TB) {
	t.Helper()
	naming := func(what string, content []byte) {
		if bytes.Contains(bytes.ToLower(content), []byte(person)) {
			t.Errorf("%s names the person", what)
		}
	}
	for _, line := range e.Dump() {
		naming("the row "+line, []byte(line))
	}
	e.Must(filepath.WalkDir(e.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		naming("the name "+path, []byte(path))
		content, err := os.ReadFile(path)
		naming(path, content)
		return err
	}))
	keys := []string{}
	for _, a := range e.Archives() {
		switch a.State {
		case exportops.ArchiveRemoved, exportops.ArchiveLost:
		case exportops.ArchiveDone:
			keys = append(keys, a.Key, strings.TrimSuffix(a.Key, ".parquet")+".json")
		default:
			t.Errorf("archive %d is %s", a.ID, a.State)
		}
	}
	slices.Sort(keys)
	want(t, "objects", append([]string{}, e.to.Keys()...), keys)
	rows, times := e.Archived(e.to)
	kept := map[string][sha256.Size]byte{}
	for id, r := range rows {
		naming("an archived row", r.AppendBinary(nil))
		if kept[id] = r.Hash(); times[id] != 1 {
			t.Errorf("row %s is in %d archives", id, times[id])
		}
	}
	want(t, "rows of others", kept, e.kept)
	want(t, "members", e.Count(`SELECT count(*) FROM exportops_archive_rows`), 0)
	k := &archive.Keeper{Store: e.Store, Objects: e.to, Program: "exportops test"}
	audit, err := k.Audit(t.Context(), 0)
	e.Must(err)
	want(t, "faults and unrecorded objects", [2]int{len(audit.Faults), len(audit.Unrecorded)}, [2]int{})
	for found, err := range k.Search(t.Context(), archive.Query{UserID: person}) {
		t.Errorf("it is found: %+v, %v", found, err)
	}
}

func TestAUserIsErasedFromArchives(t *testing.T) {
	t.Run("and_the_rows_of_others_stay_as_they_were", func(t *testing.T) {
		e := newErasable(t)
		before := e.Archives()
		res, err := e.erase(t)
		e.Must(err)
		want(t, "archives, rows", [2]int64{res.Archives, res.Archived}, [2]int64{3, e.rows})
		want(t, "what an erasure archives", res.ArchivedCount, 0)
		if r := res.Receipt; r == nil || r.Archives != 3 || r.ArchivedRows != e.rows || r.ArchivesSHA256 == "" || !r.Intact() {
			t.Fatalf("the receipt is %+v", r)
		}
		e.wantErased(t)
		after := e.Archives()
		for i, a := range before { // each by one that was written later, but for June's
			now := after[slices.IndexFunc(after, func(x exportops.Archive) bool { return x.ID == a.ID })]
			want(t, "state", now.State, exportops.ArchiveRemoved)
			if now.RemovedAt == nil || (now.ReplacedBy == 0) != (a.Rows == 1) {
				t.Errorf("archive %d of %d became %+v", i, a.Rows, now)
			}
			if now.ReplacedBy != 0 {
				by := after[slices.IndexFunc(after, func(x exportops.Archive) bool { return x.ID == now.ReplacedBy })]
				want(t, "it replaces", by.Replaces, a.ID)
				want(t, "its month", by.Month, a.Month)
			}
		}
		again, err := e.erase(t)
		e.Must(err)
		want(t, "then", [2]int64{again.Archives, again.Archived}, [2]int64{})
		want(t, "archives", e.Archives(), after)
	})
	t.Run("a_dry_run_says_how_many_rows_and_changes_nothing", func(t *testing.T) {
		e := newErasable(t)
		before, keys := e.Dump(), e.to.Keys()
		req := eraseCall
		req.DryRun = true
		answer, err := e.Runner(e.Archiving(e.to)).Run(t.Context(), req)
		e.Must(err)
		res := answer.Result.Erased
		want(t, "archives, rows, archived", [3]int64{res.Archives, res.Archived, res.ArchivedCount}, [3]int64{3, e.rows, 0})
		want(t, "database", e.Dump(), before)
		want(t, "objects", e.to.Keys(), keys)
	})
	t.Run("not_while_they_cannot_be_looked_into", func(t *testing.T) {
		e := newErasable(t)
		_, err := e.Runner().Run(t.Context(), eraseCall)
		if !exportops.IsKind(err, exportops.KindRefused) || !strings.Contains(err.Error(), "EXPORT_ARCHIVE_URL") {
			t.Fatalf("without archives: %v", err)
		}
		e.Exec(`UPDATE exportops_archives SET store = 'file:///before'`)
		for _, key := range e.to.Keys() {
			e.Must(e.to.Delete(t.Context(), key))
		}
		if _, err := e.erase(t); err == nil || !strings.Contains(err.Error(), "file:///before") {
			t.Fatalf("with others: %v", err)
		}
	})
	t.Run("also_from_those_that_were_given_up", func(t *testing.T) {
		a := newArchives(t)
		a.Exec(`UPDATE export_logs SET user_id = ? WHERE export_id IN (?, ?)`, person, id(1), id(5))
		a.to.Created = func(key string) error { return a.to.Flip(key) }
		if _, err := a.run(t); err == nil {
			t.Fatal("a byte was flipped")
		}
		a.to.Created = nil
		e := a.seen(t)
		want(t, "states", a.states(), []string{"abandoned"})
		res, err := e.erase(t)
		e.Must(err)
		want(t, "rows and archives", [2]int64{res.DeletedCount, res.Archives}, [2]int64{2, 0})
		want(t, "states", a.states(), []string{"removed"})
		e.wantErased(t)
	})
	t.Run("not_while_a_byte_is_flipped", func(t *testing.T) {
		e := newErasable(t)
		before := map[string]exportops.ArchiveState{}
		for _, a := range e.Archives() {
			before[a.Key] = a.State
		}
		e.to.Created = func(key string) error { return e.to.Flip(key) }
		_, err := e.erase(t)
		if err == nil || !strings.Contains(err.Error(), "the old one stays") {
			t.Fatalf("the error is %v", err)
		}
		rows, _ := e.Archived(e.to)
		if len(rows) < len(e.kept)+1 {
			t.Errorf("%d archived rows are left", len(rows))
		}
		e.to.Created = nil
		_, err = e.erase(t)
		e.Must(err)
		e.wantErased(t)
	})
	t.Run("not_where_an_archive_is_damaged", func(t *testing.T) {
		e := newErasable(t)
		for _, a := range e.Archives() {
			e.Must(e.to.Flip(a.Key))
		}
		res, err := e.erase(t)
		if err == nil || res.Receipt != nil {
			t.Fatalf("%+v, %v", res, err)
		}
	})
	t.Run("not_where_storage_lies_about_what_it_deleted", func(t *testing.T) {
		e := newErasable(t)
		res, err := e.erase(t, through(lying{e.to}, func(s jobs.Store) jobs.Store { return s }))
		if err == nil || !strings.Contains(err.Error(), "is there all the same") || res.Receipt != nil {
			t.Fatalf("%+v, %v", res, err)
		}
		_, err = e.erase(t)
		e.Must(err)
		e.wantErased(t)
	})
}

// lying deletes nothing, and says that it did.
type lying struct{ *testworld.Objects }

func (lying) Delete(context.Context, string) error { return nil }

func TestHoldsKeepArchivedRows(t *testing.T) {
	for scope, subject := range map[exportops.HoldScope]string{
		exportops.HoldAll: "", exportops.HoldUser: person, exportops.HoldExport: id(3),
	} {
		t.Run("of_"+string(scope), func(t *testing.T) {
			e := newErasable(t)
			keys := e.to.Keys()
			e.Exec(`INSERT INTO exportops_holds (scope, subject, reason, placed_by, placed_at) VALUES (?, ?, 'r', 'p', ?)`, scope, subject, e.Ago(0))
			_, err := e.erase(t)
			if !exportops.IsKind(err, exportops.KindRefused) || !strings.Contains(err.Error(), "hold 1 covers") {
				t.Fatalf("the error is %v", err)
			}
			for _, key := range keys {
				if scope != exportops.HoldExport && !slices.Contains(e.to.Keys(), key) {
					t.Errorf("%s is gone", key)
				}
			}
			rows, _ := e.Archived(e.to)
			if !slices.ContainsFunc(e.Archives(), func(a exportops.Archive) bool { return a.State == exportops.ArchiveDone }) {
				t.Error("no archive is left")
			}
			held := false
			for _, r := range rows {
				held = held || r.ExportID == id(3)
			}
			if !held {
				t.Error("what is held is gone")
			}
			e.Exec(`UPDATE exportops_holds SET released_at = placed_at`)
			_, err = e.erase(t)
			e.Must(err)
			e.wantErased(t)
		})
	}
}

// steps counts the calls to storage and the database that an erasure of archives is
// made of, and steps in before or after the last of them.
type steps struct {
	left  int // -1 for no end
	after bool
	in    func() error
}

func (s *steps) call(fn func() error) error {
	s.left--
	if s.left == 0 && !s.after {
		if err := s.in(); err != nil {
			return err
		}
	}
	err := fn()
	if s.left == 0 && s.after {
		if in := s.in(); in != nil {
			return in
		}
	}
	return err
}

type steppedObjects struct {
	exportops.ObjectStore
	*steps
}

func (o steppedObjects) Create(ctx context.Context, key string, body io.ReadSeeker, size int64, sum [sha256.Size]byte) error {
	return o.call(func() error { return o.ObjectStore.Create(ctx, key, body, size, sum) })
}

func (o steppedObjects) Open(ctx context.Context, key string) (body io.ReadCloser, err error) {
	return body, o.call(func() error {
		body, err = o.ObjectStore.Open(ctx, key)
		return err
	})
}

func (o steppedObjects) Delete(ctx context.Context, key string) error {
	return o.call(func() error { return o.ObjectStore.Delete(ctx, key) })
}

type steppedStore struct {
	*archivesStore
	*steps
}

func (s steppedStore) BeginArchive(ctx context.Context, c exportops.Checkpoint, a exportops.Archive, epoch int64, name func(int64) string) (
	got exportops.Archive, err error,
) {
	return got, s.call(func() error {
		got, err = s.archivesStore.BeginArchive(ctx, c, a, epoch, name)
		return err
	})
}

func (s steppedStore) MoveArchive(ctx context.Context, c exportops.Checkpoint, id int64, to exportops.ArchiveState, why string) (
	got exportops.Archive, err error,
) {
	return got, s.call(func() error {
		got, err = s.archivesStore.MoveArchive(ctx, c, id, to, why)
		return err
	})
}

func (s steppedStore) ReplaceArchive(ctx context.Context, c exportops.Checkpoint, r exportops.Replacement) error {
	return s.call(func() error { return s.archivesStore.ReplaceArchive(ctx, c, r) })
}

func (s steppedStore) ArchiveRemoved(ctx context.Context, c exportops.Checkpoint, id int64) error {
	return s.call(func() error { return s.archivesStore.ArchiveRemoved(ctx, c, id) })
}

func (s steppedStore) TurnArchiveEpoch(ctx context.Context, c exportops.Checkpoint) error {
	return s.call(func() error { return s.archivesStore.TurnArchiveEpoch(ctx, c) })
}

func (s steppedStore) RecordErasure(ctx context.Context, c exportops.Checkpoint, user string, r exportops.Erasure) error {
	return s.call(func() error { return s.archivesStore.RecordErasure(ctx, c, user, r) })
}

// TestAnErasureOfArchivesIsInterrupted lets every call fail once, and the process die at
// every call, before it and after it.
func TestAnErasureOfArchivesIsInterrupted(t *testing.T) {
	down := &exportops.Error{Kind: exportops.KindUnavailable, Message: "it is down"}
	world, stride := copies(t), 1
	if testing.Short() {
		stride = 5
	}
	for _, after := range []bool{false, true} {
		for how, in := range map[string]func() error{
			"fails": func() error { return down },
			"dies":  func() error { panic(errCrash) },
		} {
			for n, reached := 1, true; reached; n += stride {
				t.Run(fmt.Sprintf("%s_at_call_%d_after_%v", how, n, after), func(t *testing.T) {
					e := world(t)
					s := &steps{left: n, after: after, in: in}
					r := e.Runner(through(steppedObjects{e.to, s}, func(to jobs.Store) jobs.Store { return steppedStore{&archivesStore{to}, s} }))
					func() {
						defer func() {
							if p := recover(); p != nil && p != errCrash { //nolint:errorlint // the very value
								panic(p)
							}
						}()
						answer, err := r.Run(t.Context(), eraseCall)
						reached = s.left <= 0
						if reached && err == nil && answer.Result.Erased.Receipt == nil {
							t.Errorf("it ended without a receipt: %+v", answer)
						}
						if err != nil && !errors.Is(err, down) && !strings.Contains(err.Error(), "it is down") {
							t.Errorf("the error is %v", err)
						}
					}()
					e.Clock.Advance(time.Minute)
					_, err := e.erase(t)
					e.Must(err)
					e.wantErased(t)
					want(t, "archived rows of receipts", e.Count(`SELECT sum(receipt ->> '$.archived_rows') FROM exportops_erasures`), e.rows)
					want(t, "unfinished runs", e.Count(`SELECT count(*) FROM exportops_runs WHERE state = 'running'`), 0)
				})
				if n > 200 {
					t.Fatal("it does not end")
				}
			}
		}
	}
}

func TestErasuresMeetOthers(t *testing.T) {
	t.Run("another_user_is_erased_at_the_same_time", func(t *testing.T) {
		world := copies(t)
		for n, reached := 1, true; reached; n++ { // before each call of the first
			e := world(t)
			e.Exec(`UPDATE export_logs SET status = 'failed', file_url = NULL WHERE user_id = ?`, testworld.User)
			second := eraseCall
			second.UserID = testworld.User
			s := &steps{left: n, in: func() error {
				if _, err := e.Runner(e.Archiving(e.to)).Run(t.Context(), second); err != nil && !exportops.IsKind(err, exportops.KindConflict) {
					t.Errorf("call %d: the second: %v", n, err)
				}
				return nil
			}}
			r := e.Runner(through(steppedObjects{e.to, s}, func(to jobs.Store) jobs.Store { return steppedStore{&archivesStore{to}, s} }))
			_, err := r.Run(t.Context(), eraseCall)
			if err != nil && !exportops.IsKind(err, exportops.KindConflict) {
				t.Errorf("call %d: %v", n, err)
			}
			reached = s.left <= 0
			_, err = e.erase(t)
			e.Must(err)
			_, err = e.Runner(e.Archiving(e.to)).Run(t.Context(), second)
			e.Must(err)
			clear(e.kept) // all the others are of the second
			e.wantErased(t)
			if t.Failed() || n > 100 {
				t.Fatalf("at call %d", n)
			}
		}
	})
	t.Run("a_log_cleanup_that_read_the_rows_before", func(t *testing.T) {
		a := newArchives(t)
		a.Exec(`UPDATE export_logs SET user_id = ? WHERE export_id IN (?, ?)`, person, id(1), id(5))
		e := a.seen(t)
		for key := range e.kept {
			delete(e.kept, key)
		}
		var end func() *exportops.Erasure
		store := func(s jobs.Store) jobs.Store {
			return meeting{&archivesStore{s}, func() {
				if end == nil { // it waits for the cleanup to end
					end = erasing(t, e.World, e.Archiving(e.to))
				}
			}}
		}
		_, err := a.Runner(through(a.to, store)).Run(t.Context(), logCall)
		a.Must(err)
		if end == nil {
			t.Fatal("they did not meet")
		}
		end()
		rows, _ := a.Archived(a.to)
		for id, r := range rows {
			e.kept[id] = r.Hash()
		}
		want(t, "archived", len(rows), 8)
		e.wantErased(t)
	})
	t.Run("a_log_cleanup_at_work_is_waited_for", func(t *testing.T) {
		a := newArchives(t)
		a.Exec(`UPDATE export_logs SET user_id = ? WHERE export_id IN (?, ?)`, person, id(1), id(5))
		e := a.seen(t)
		once := false
		a.to.Opening = func(string) error {
			if !once {
				once = true
				if _, err := e.erase(t); !exportops.IsKind(err, exportops.KindConflict) || !strings.Contains(err.Error(), "at work on archive") {
					t.Errorf("the erasure: %v", err)
				}
			}
			return nil
		}
		_, err := a.run(t)
		a.Must(err)
		e = a.seen(t)
		_, err = e.erase(t)
		a.Must(err)
		e.wantErased(t)
	})
	t.Run("a_log_cleanup_that_was_paused_leaves_no_object", func(t *testing.T) {
		a := newArchives(t)
		a.Exec(`UPDATE export_logs SET user_id = ? WHERE export_id IN (?, ?)`, person, id(1), id(5))
		to, e := *a.to, &erasable{archives: a, kept: map[string][sha256.Size]byte{}}
		to.Before = func(string) error { // it has recorded what it is about to write
			to.Before = nil
			a.Clock.Advance(time.Minute)
			res, err := e.erase(t)
			a.Must(err)
			want(t, "rows", res.DeletedCount, 2)
			return nil
		}
		if _, err := a.Runner(a.Archiving(&to)).Run(t.Context(), logCall); !errors.Is(err, exportops.ErrFenced) {
			t.Fatalf("it went on: %v", err)
		}
		e.wantErased(t)
	})
	t.Run("a_log_cleanup_that_died_is_finished", func(t *testing.T) {
		for _, call := range []string{"BeginArchive", "AddArchiveMembers", "to written", "to verified", "to deleting", "DeleteArchived"} {
			a := newArchives(t)
			a.Exec(`UPDATE export_logs SET user_id = ? WHERE export_id IN (?, ?)`, person, id(1), id(5))
			all, _, err := a.Store.ArchivedRows(t.Context(), a.ids)
			a.Must(err)
			a.diesIn(t, call, true)
			e := a.seen(t)
			res, err := e.erase(t)
			a.Must(err)
			if res.DeletedCount != 2 && call != "DeleteArchived" {
				t.Errorf("%s: %d rows of the person are deleted", call, res.DeletedCount)
			}
			a.mustRun(t)
			rows, _ := a.Archived(a.to)
			for _, r := range all {
				if _, there := rows[r.ID]; there == (r.UserID == person) {
					t.Errorf("%s: row %s of %s is archived: %v", call, r.ID, r.UserID, there)
				}
			}
			e.kept = a.seen(t).kept
			e.wantErased(t)
		}
	})
}

// meeting calls meet before an archive begins.
type meeting struct {
	*archivesStore
	meet func()
}

func (m meeting) BeginArchive(ctx context.Context, c exportops.Checkpoint, a exportops.Archive, epoch int64, name func(int64) string) (exportops.Archive, error) {
	m.meet()
	return m.archivesStore.BeginArchive(ctx, c, a, epoch, name)
}
