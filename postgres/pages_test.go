package postgres

import (
	"encoding/json"
	"testing"

	"github.com/jackc/pgx/v5"
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
	watch := &spy{seen: map[string][]statement{}}
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
	whole, err := s.ArchivedRows(t.Context(), ids)
	must(t, err)
	watch.during("")
	if len(whole) != page {
		t.Fatalf("%d rows, want %d", len(whole), page)
	}
	for name, statements := range watch.seen {
		if len(statements) == 0 {
			t.Errorf("%s: no statement was seen", name)
		}
		for _, st := range statements {
			var text []byte
			must(t, s.reading(t.Context(), func(tx pgx.Tx) error {
				return tx.QueryRow(t.Context(), `EXPLAIN (ANALYZE, FORMAT JSON) `+st.query, st.args...).Scan(&text)
			}))
			var plans []struct{ Plan part }
			must(t, json.Unmarshal(text, &plans))
			if most := plans[0].Plan.most(); most.Rows*most.Loops > page {
				t.Errorf("%s: for a page of %d, %s comes to %v rows %v times:\n%s", name, page, most.Kind, most.Rows, most.Loops, text)
			}
		}
	}
}
