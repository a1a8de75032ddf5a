package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

var noon = exportops.Time{Time: time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC)}

func after(t exportops.Time, d time.Duration) exportops.Time { return exportops.At(t.Add(d)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a database with two replicas, and the application beside them.
type world struct {
	testing.TB
	a, b *Store
	url  string
}

func newWorld(t testing.TB) *world {
	url := newDatabase(t)
	return &world{t, openStore(t, url), openStore(t, url), url}
}

// app begins a transaction of the application, on a connection of its own.
func (w *world) app() pgx.Tx {
	w.Helper()
	conn, err := pgx.Connect(w.Context(), w.url)
	must(w, err)
	w.Cleanup(func() { _ = conn.Close(context.Background()) })
	tx, err := conn.Begin(w.Context())
	must(w, err)
	return tx
}

func (w *world) exec(tx pgx.Tx, query string, args ...any) {
	w.Helper()
	_, err := tx.Exec(w.Context(), query, args...)
	must(w, err)
}

// now runs a statement of the application at once.
func (w *world) now(query string, args ...any) {
	w.Helper()
	_, err := w.a.pool.Exec(w.Context(), query, args...)
	must(w, err)
}

func (w *world) count(query string, args ...any) (n int64) {
	w.Helper()
	must(w, w.a.pool.QueryRow(w.Context(), query, args...).Scan(&n))
	return n
}

// blockedBy waits until so many backends wait for a lock of the application's
// transaction, or of whoever waits for it.
func (w *world) blockedBy(tx pgx.Tx, n int64) {
	w.Helper()
	w.until(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
		AND pid <> $1 AND wait_event_type = 'Lock'`, n, tx.Conn().PgConn().PID())
}

// waiting tells of the first backend that waits for the transaction's lock, for as long as the
// test runs.
func (w *world) waiting(tx pgx.Tx) <-chan struct{} {
	seen := make(chan struct{})
	pid := tx.Conn().PgConn().PID()
	go func() {
		var n int64
		for n == 0 && w.a.pool.QueryRow(w.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE $1::int = ANY(pg_blocking_pids(pid))`, pid).Scan(&n) == nil {
			time.Sleep(2 * time.Millisecond)
		}
		if n > 0 {
			close(seen)
		}
	}()
	return seen
}

// blocked waits until a backend waits for a lock.
func (w *world) blocked() {
	w.Helper()
	w.until(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`, 1)
}

func (w *world) until(query string, want int64, args ...any) {
	w.Helper()
	for deadline := time.Now().Add(20 * time.Second); w.count(query, args...) < want; {
		if time.Now().After(deadline) {
			w.Fatal("nobody came to wait for the lock")
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// commit ends a transaction of the application.
func (w *world) commit(tx pgx.Tx) {
	w.Helper()
	must(w, tx.Commit(w.Context()))
}

// due inserts a completed export whose file expired some hours ago.
func (w *world) due(hours int) string {
	w.Helper()
	id := exportops.NewID()
	w.now(dueRow, id, after(noon, -time.Duration(hours+24)*time.Hour).String(), after(noon, -time.Duration(hours)*time.Hour).String())
	return id
}

// dueRow inserts an export that was completed at a time, and expires at another.
const dueRow = `INSERT INTO public.export_logs (export_id, user_id, timestamp, format, config, conversation_count, status,
		file_url, expires_at, created_at, updated_at)
	VALUES ($1::text::uuid, gen_random_uuid(), $2::timestamptz, 'csv', '{}', 1, 'completed', 'a/' || $1::text, $3::timestamptz, $2::timestamptz, $2::timestamptz)`

func runRequest(job exportops.Job, change ...func(*exportops.RunRequest)) exportops.RunRequest {
	r := exportops.RunRequest{
		Job: job, Lane: string(job), Params: []byte(`{}`), Trigger: exportops.ByCron, Holder: "a", Now: noon,
		Lease: exportops.LeaseLength,
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// begin begins a run, and returns a checkpoint of it.
func (w *world) begin(s *Store, job exportops.Job, now exportops.Time) exportops.Checkpoint {
	w.Helper()
	_, fence, how, err := s.BeginRun(w.Context(), runRequest(job, func(r *exportops.RunRequest) { r.Now = now }))
	must(w, err)
	if how != exportops.Started && how != exportops.TookOver {
		w.Fatalf("the request was met with %q", how)
	}
	return exportops.Checkpoint{Fence: fence, Now: now, Lease: exportops.LeaseLength}
}

// claimAll claims what is due at noon under the name of its export, and calls
// meanwhile while the rows are locked.
func claimAllOf(meanwhile func()) exportops.ClaimRequest {
	return exportops.ClaimRequest{
		Selection: exportops.Selection{Mode: exportops.ByExpiry, Now: noon}, Store: "s", Limit: 100,
		Decide: func(page, _ []exportops.Candidate) []exportops.Decision {
			if meanwhile != nil {
				meanwhile()
			}
			out := make([]exportops.Decision, len(page))
			for i, c := range page {
				out[i] = exportops.Decision{Verdict: exportops.Claim, Location: exportops.Location{Bucket: "b", Key: c.ExportID}}
			}
			return out
		},
	}
}

func (w *world) claim(s *Store, c exportops.Checkpoint, r exportops.ClaimRequest) exportops.ClaimPage {
	w.Helper()
	page, err := s.ClaimFiles(w.Context(), c, r)
	must(w, err)
	return page
}

// openClaim lets the application's transaction stand for another replica that
// is about to claim a key.
func (w *world) openClaim(tx pgx.Tx, key string) {
	w.Helper()
	w.exec(tx, `INSERT INTO exportops.deletions (export_id, mode, state, store, bucket, key, row_status, run_id, token,
		attempts, claimed_at) VALUES (gen_random_uuid(), 'expiry', 'claimed', 's', 'b', $1, 'completed', 'other', 1, 1, now())`, key)
}

func (w *world) status(exportID, want string) {
	w.Helper()
	if w.count(`SELECT count(*) FROM public.export_logs WHERE export_id = $1::uuid AND status = $2`, exportID, want) != 1 {
		w.Fatalf("export %s is not %s", exportID, want)
	}
}
