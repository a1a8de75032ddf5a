package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// fiveMillion fills a database as a busy installation finds it on the first day:
// most rows are old, half of them without an entry in the ledger, and no hour is
// rolled up.
const fiveMillion = `
	INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, file_size, status, file_url,
		expires_at, error_message, created_at, updated_at)
	SELECT gen_random_uuid(), md5((i % 50000)::text)::uuid, at, (ARRAY['json', 'jsonl', 'csv', 'markdown'])[i % 4 + 1],
		'{"scope":"all","format":"json","includeMetadata":true}', i % 1500, CASE WHEN status <> 'failed' THEN i % 100000 END, status,
		CASE WHEN status <> 'failed' THEN 'f/' || i END,
		CASE WHEN status = 'expired' THEN at + interval '1 day' WHEN status = 'completed' THEN now() + interval '1 day' END,
		CASE WHEN status = 'failed' THEN 'TimeoutError: it took too long' END, at, at + i % 9000 * interval '1 ms'
	FROM generate_series(1, $1::int) i,
		LATERAL (SELECT now() - interval '1 hour' - i * (interval '100 days' / $1::int) AS at,
			CASE WHEN i % 20 = 0 THEN 'failed' WHEN i < $1::int / 10 THEN 'completed' ELSE 'expired' END AS status) t`

const theirLedger = `
	INSERT INTO exportops.deletions (export_id, user_id, mode, state, store, bucket, key, file_url, expires_at, file_size,
		row_status, run_id, token, attempts, bytes, evidence, claimed_at, finished_at)
	SELECT export_id, user_id, 'expiry', 'deleted', 'file://' || $1::text, '', file_url AS key, file_url, expires_at, file_size,
		'completed', '00000000-0000-4000-8000-000000000000', 1, 1, file_size, 'confirmed', expires_at, expires_at
	FROM export_logs WHERE status = 'expired'`

// BenchmarkLocks runs every job on 5,000,000 rows (EXPORTOPS_TEST_ROWS of them)
// while an application writes to the table, and reports in milliseconds how long a
// transaction of ours that had changed or locked anything lasted at most, as it
// was seen every 20 ms, how long a statement of the application that waited for a lock
// had lasted at most, and what its statements took. Where there is much between the two,
// they waited for the disk or a processor.
func BenchmarkLocks(b *testing.B) {
	rows := 5_000_000
	if n, err := strconv.Atoi(os.Getenv("EXPORTOPS_TEST_ROWS")); err == nil {
		rows = n
	}
	s := newSite(b, "EXPORTOPS_LOG_LEVEL=error")
	if err := os.WriteFile(filepath.Join(s.dir, "kept"), nil, 0o600); err != nil {
		b.Fatal(err)
	}
	s.exec(fiveMillion, rows)
	s.exec(theirLedger, s.dir)
	s.expired(5000, "absent/")
	s.exec(`ANALYZE`)
	for b.Loop() {
		for _, job := range [][]string{
			{"metrics-aggregate"}, {"file-cleanup", "--force"}, {"log-cleanup", "--retention-days", "90", "--force"},
		} {
			watch := s.watch(rows)
			began := time.Now()
			s.command(append([]string{"run"}, job...)...)
			took := time.Since(began)
			seen, theirs := watch()
			b.Logf("%s took %s; our longest transaction %s, then at %s; %d statements of the application: median %s, 99 %% within %s, all within %s, for a lock %s",
				job[0], took.Round(time.Millisecond), seen.longest, seen.at, len(theirs),
				share(theirs, 0.5), share(theirs, 0.99), share(theirs, 1), seen.blocked)
			b.ReportMetric(float64(seen.longest.Milliseconds()), job[0]+"-longest-ms")
			b.ReportMetric(float64(seen.blocked.Milliseconds()), job[0]+"-blocked-ms")
			b.ReportMetric(float64(share(theirs, 1).Milliseconds()), job[0]+"-writer-ms")
		}
	}
}

func share(sorted []time.Duration, part float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(part*float64(len(sorted)-1))].Round(10 * time.Microsecond)
}

// applicationDoes this over and over, with the export it is about and a number.
var applicationDoes = []string{
	`INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, status)
		VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'csv', '{}', $2::bigint % 1000 + length($1::text), 'processing')
		RETURNING export_id::text`,
	`UPDATE export_logs SET status = 'completed', file_url = 'f/' || export_id, file_size = $2::bigint,
		expires_at = now() + interval '1 day' WHERE export_id = $1::text::uuid RETURNING export_id::text`,
	`WITH other AS (UPDATE export_logs SET downloaded_count = 1 WHERE export_id = (SELECT export_id FROM export_logs
			WHERE timestamp < now() - $2::bigint % 100 * interval '1 day' ORDER BY timestamp DESC LIMIT 1) RETURNING 1)
		SELECT $1::text FROM (SELECT count(*) FROM other) o`,
}

// ourLocks is how long the oldest transaction of ours has lasted that holds what
// others may wait for, as it has a transaction id of its own, and what it is at; and how
// long the oldest statement of the application has that waits for a lock.
const ourLocks = `
	SELECT coalesce(max(o.seconds), 0), coalesce((array_agg(o.at ORDER BY o.seconds DESC))[1], ''), (
		SELECT coalesce(max(extract(epoch FROM clock_timestamp() - a.query_start)), 0)::float8 FROM pg_stat_activity a
		WHERE a.datname = current_database() AND a.application_name <> 'exportops' AND a.wait_event_type = 'Lock')
	FROM (SELECT extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds,
			concat_ws(' ', a.wait_event_type, a.wait_event, left(regexp_replace(a.query, '\s+', ' ', 'g'), 60)) AS at
		FROM pg_stat_activity a
		WHERE a.datname = current_database() AND a.application_name = 'exportops' AND a.backend_xid IS NOT NULL) o`

// locksSeen is the worst that was seen of our transactions.
type locksSeen struct {
	longest time.Duration
	at      string // what Postgres said of it
	blocked time.Duration
}

// watch begins to write as an application does, and to look at our transactions.
// What it returns ends both, and says what was seen.
func (s *site) watch(rows int) func() (seen locksSeen, theirs []time.Duration) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	var all sync.WaitGroup
	var mu sync.Mutex
	var seen locksSeen
	var theirs []time.Duration
	s.beside(ctx, &all, func(db *pgx.Conn) error {
		var longest, blocked float64
		var at string
		if err := db.QueryRow(ctx, ourLocks).Scan(&longest, &at, &blocked); err != nil {
			return err
		}
		mu.Lock()
		if d := inMillis(longest); d > seen.longest {
			seen.longest, seen.at = d, at
		}
		seen.blocked = max(seen.blocked, inMillis(blocked))
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		return nil
	})
	for range 2 {
		s.beside(ctx, &all, func(db *pgx.Conn) error {
			var id string
			for _, query := range applicationDoes {
				began := time.Now()
				if err := db.QueryRow(ctx, query, id, began.UnixNano()/1000%int64(rows)).Scan(&id); err != nil {
					return err
				}
				mu.Lock()
				theirs = append(theirs, time.Since(began))
				mu.Unlock()
			}
			time.Sleep(5 * time.Millisecond)
			return nil
		})
	}
	return func() (locksSeen, []time.Duration) {
		cancel()
		all.Wait()
		slices.Sort(theirs)
		return seen, theirs
	}
}

func inMillis(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
}

// beside repeats a step on a connection of its own until the context ends.
func (s *site) beside(ctx context.Context, all *sync.WaitGroup, step func(*pgx.Conn) error) {
	s.Helper()
	db, err := pgx.ConnectConfig(context.WithoutCancel(ctx), s.db.Config())
	if err != nil {
		s.Fatal(err)
	}
	all.Go(func() {
		defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
		for ctx.Err() == nil {
			if err := step(db); err != nil && ctx.Err() == nil {
				s.Error(err)
				return
			}
		}
	})
}
