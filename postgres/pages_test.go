package postgres

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// part is what a plan did, once it was carried out.
type part struct {
	Kind  string  `json:"Node Type"`
	Rows  float64 `json:"Actual Rows"`
	Loops float64 `json:"Actual Loops"`
	Plans []part  `json:"Plans"`
}

func (p part) most() part {
	most := p
	for _, q := range p.Plans {
		if q = q.most(); q.Rows*q.Loops > most.Rows*most.Loops {
			most = q
		}
	}
	return most
}

// A page of what archives are made of costs the page, whatever the planner believes of
// the tables: members come and go within minutes, without any statistics, and of a
// table of some ten thousand rows it would rather read all than look some up.
func TestAPageReadsNoMore(t *testing.T) {
	url := newDatabase(t)
	run(t, url, `VACUUM ANALYZE`)
	run(t, url, `INSERT INTO exportops.archive_rows SELECT 1, i, gen_random_uuid(), sha256(i::text::bytea) FROM generate_series(0, 49999) i`)
	run(t, url, `INSERT INTO public.export_logs (id, export_id, user_id, timestamp, format, config, conversation_count, status)
		SELECT md5(i::text)::uuid, md5('e' || i)::uuid, md5('u')::uuid, now(), 'csv', '{}', 1, 'failed' FROM generate_series(0, 19999) i`)
	run(t, url, `ANALYZE public.export_logs`)
	watch := newSpy()
	s, err := open(t.Context(), Options{URL: url}, watch)
	must(t, err)
	defer s.Close()

	const page = 500
	watch.during("members")
	members, err := s.ArchiveMembers(t.Context(), 1, 20_000, page)
	must(t, err)
	if len(members) != page || members[0].Position != 20_000 {
		t.Fatalf("%d members, want %d", len(members), page)
	}
	watch.during("rows")
	var ids []string
	must(t, s.reading(t.Context(), func(tx pgx.Tx) error {
		rows, err := tx.Query(t.Context(), `SELECT md5(i::text)::uuid::text FROM generate_series(1, $1::int) i`, page)
		if err == nil {
			ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		return err
	}))
	watch.seen["rows"] = nil
	whole, _, err := s.ArchivedRows(t.Context(), ids)
	must(t, err)
	watch.during("")
	if len(whole) != page {
		t.Fatalf("%d rows, want %d", len(whole), page)
	}
	watch.costNoMore(t, s, page)
}

// costNoMore says which statements come to more rows than so many.
func (p *spy) costNoMore(t *testing.T, s *Store, rows float64) {
	t.Helper()
	for name, statements := range p.seen {
		if len(statements) == 0 {
			t.Errorf("%s: no statement was seen", name)
		}
		for _, st := range statements {
			var text []byte
			undone := errors.New("undone")
			err := s.tx(t.Context(), func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), p.told[name])
				if err == nil {
					err = tx.QueryRow(t.Context(), `EXPLAIN (ANALYZE, FORMAT JSON) `+st.query, st.args...).Scan(&text)
				}
				return cmp.Or(err, undone)
			})
			if !errors.Is(err, undone) {
				t.Fatalf("%s: %v", name, err)
			}
			var plans []struct{ Plan part }
			must(t, json.Unmarshal(text, &plans))
			if most := plans[0].Plan.most(); most.Rows*most.Loops > rows {
				t.Errorf("%s: %s comes to %v rows %v times, for %v:\n%s", name, most.Kind, most.Rows, most.Loops, rows, text)
			}
		}
	}
}

// Late in a run a batch costs what the first did. The ledger and the metrics have grown
// within minutes, without any statistics, and the index of open claims by all that were
// open since.
func TestABatchCostsNoMoreLateInARun(t *testing.T) {
	url := newDatabase(t)
	run(t, url, `VACUUM ANALYZE`)
	watch := newSpy()
	s, err := open(t.Context(), Options{URL: url}, watch)
	must(t, err)
	defer s.Close()
	now := exportops.At(time.Now())
	_, fence, _, err := s.BeginRun(t.Context(), exportops.RunRequest{
		Job: exportops.FileCleanup, Lane: "files", Params: []byte(`{}`), Now: now, Lease: time.Hour,
	})
	must(t, err)
	const rows, page = 20_000, 300
	run(t, url, fmt.Sprintf(`INSERT INTO public.export_logs (export_id, user_id, timestamp, format, config, conversation_count, status, file_url, expires_at)
		SELECT md5('e' || i)::uuid, md5('u')::uuid, now() - interval '2 days', 'csv', '{}', 1, 'completed', i || '.csv', now() - interval '1 day'
		FROM generate_series(1, %d) i`, rows),
		`ANALYZE public.export_logs`,
		`INSERT INTO exportops.deletions (export_id, user_id, mode, state, store, bucket, key, file_url, expires_at, row_status, run_id, token,
			attempts, claimed_at)
		SELECT export_id, user_id, 'expiry', 'claimed', 's', 'b', file_url AS key, file_url, expires_at, 'completed', '`+fence.RunID+`', 1, 1, now()
		FROM public.export_logs`,
		fmt.Sprintf(`WITH d AS (UPDATE exportops.deletions SET state = 'deleted', finished_at = now() WHERE id <= %d RETURNING *)
		INSERT INTO exportops.export_metrics (export_id, user_id, format, status, attempt, source, conversation_count,
			timestamp, received_at, outcome, counted_hour)
		SELECT export_id, user_id, 'csv', 'completed', 1, 'observed', 1, timestamp, timestamp AS received, true, date_trunc('hour', timestamp, 'UTC')
		FROM d CROSS JOIN now() AS timestamp`, rows-page))
	open, err := s.Deletions(t.Context(), exportops.DeletionFilter{State: exportops.DeletionClaimed, Limit: page})
	must(t, err)
	batch := make([]exportops.Settlement, len(open))
	for i := range open {
		batch[i] = exportops.Settlement{Claim: &open[i], State: exportops.DeletionDone}
	}
	c := exportops.Checkpoint{Fence: fence, Now: now, Lease: time.Hour}
	watch.during("Settle")
	settled, err := s.Settle(t.Context(), c, batch)
	must(t, err)
	watch.during("ChainDeletions")
	linked, _, err := s.ChainDeletions(t.Context(), c, 0, page)
	must(t, err)
	watch.during("")
	if len(settled) != page || !settled[0].RowExpired || linked != page {
		t.Fatalf("%d settled, the first %+v, and %d linked; want %d", len(settled), settled[0], linked, page)
	}
	watch.costNoMore(t, s, 4*page) // of an entry there may be three versions
}

// Where the files of nearly all old rows are gone, the few others are found by
// statements that each look at so many rows: one that went on until it has found
// enough would be ended for the time that it takes. Some of them are where a stretch
// ends and the next begins, among rows of the same time.
func TestAWalkInStretches(t *testing.T) {
	url := newDatabase(t)
	run(t, url, `INSERT INTO public.export_logs (id, export_id, user_id, timestamp, format, config, conversation_count, status, file_url, expires_at)
		SELECT lpad(to_hex(i), 32, '0')::uuid, md5('e' || i)::uuid, md5('u')::uuid, '2025-01-01Z'::timestamptz + i / 100 * interval '1 minute', 'csv',
			'{}', 1, 'expired', i || '.csv', '2025-06-01Z' FROM generate_series(1, 25000) i`)
	run(t, url, `INSERT INTO exportops.deletions (export_id, user_id, mode, state, store, bucket, key, file_url, expires_at, row_status, run_id, token,
			attempts, claimed_at, finished_at)
		SELECT export_id, user_id, 'expiry', 'deleted', 's', 'b', file_url AS key, file_url, expires_at, 'completed', 'r', 1, 1, now(), now()
		FROM public.export_logs`)
	want := []string{"1.csv", "9999.csv", "10000.csv", "10001.csv", "20000.csv", "20001.csv", "25000.csv"}
	run(t, url, `UPDATE exportops.deletions SET state = 'failed' WHERE key IN ('`+strings.Join(want, `', '`)+`')`, `VACUUM ANALYZE`)
	watch := newSpy()
	s, err := open(t.Context(), Options{URL: url}, watch)
	must(t, err)
	defer s.Close()

	sel := exportops.Selection{Mode: exportops.ByLogCleanup, Cut: exportops.At(time.Now())}
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []string
		var rest []int64
		for after := exportops.Cursor(""); len(rest) == 0 || after != ""; {
			watch.during("CountCandidates")
			n, err := s.CountCandidates(t.Context(), sel, after)
			must(t, err)
			if rest = append(rest, n); int(n) != len(want)-len(got) {
				t.Errorf("by %d: %d are left after %q", limit, n, got)
			}
			watch.during("Candidates")
			var page []exportops.Candidate
			page, after, err = s.Candidates(t.Context(), sel, after, limit)
			must(t, err)
			for _, c := range page {
				got = append(got, *c.FileURL)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %d: %q, want %q", limit, got, want)
		}
		watch.during("CountCandidatesUpTo")
		n, err := s.CountCandidatesUpTo(t.Context(), sel, int64(limit))
		must(t, err)
		if int(n) != min(limit, len(want)) {
			t.Errorf("up to %d there are %d", limit, n)
		}
	}
	watch.during("")
	const alike = 100 // rows of one time, which are sorted by their ids
	watch.costNoMore(t, s, stretch+alike)
}

// Where every file is due, a page of them looks no further than the page.
func TestADensePageIsNoStretch(t *testing.T) {
	url := newDatabase(t)
	run(t, url, `INSERT INTO public.export_logs (export_id, user_id, timestamp, format, config, conversation_count, status, file_url, expires_at)
		SELECT md5('e' || i)::uuid, md5('u')::uuid, '2025-01-01Z'::timestamptz + i * interval '1 minute', 'csv', '{}', 1, 'expired', i || '.csv', '2025-06-01Z'
		FROM generate_series(1, 20000) i`, `VACUUM ANALYZE`)
	watch := newSpy()
	s, err := open(t.Context(), Options{URL: url}, watch)
	must(t, err)
	defer s.Close()
	const limit = 50
	sel := exportops.Selection{Mode: exportops.ByLogCleanup, Cut: exportops.At(time.Now())}
	watch.during("Candidates")
	page, _, err := s.Candidates(t.Context(), sel, "", limit)
	must(t, err)
	watch.during("")
	if len(page) != limit {
		t.Fatalf("%d candidates", len(page))
	}
	watch.costNoMore(t, s, 2*limit) // sorting takes some ahead
}
