package postgres

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// spy keeps the statements that a store executes, under the name of the call
// that is being made.
type spy struct {
	mu   sync.Mutex
	name string
	seen map[string][]statement
	told map[string]string // what the planner was told first
}

func newSpy() *spy { return &spy{seen: map[string][]statement{}, told: map[string]string{}} }

type statement struct {
	query string
	args  []any
}

// TraceQueryStart implements pgx.QueryTracer.
func (p *spy) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	if forPlanner.MatchString(d.SQL) {
		p.told[p.name] = d.SQL
	}
	known := slices.ContainsFunc(p.seen[p.name], func(st statement) bool { return st.query == d.SQL })
	if p.name != "" && plannable.MatchString(d.SQL) && !known {
		query := aCursor.ReplaceAllString(d.SQL, "")
		p.seen[p.name] = append(p.seen[p.name], statement{query, slices.Clone(d.Args)})
	}
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (p *spy) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

var (
	plannable = regexp.MustCompile(`(?i)^\s*(SELECT|INSERT|UPDATE|DELETE|WITH|DECLARE)\b`)
	// not the many settings that each transaction begins with
	forPlanner = regexp.MustCompile(`^SET LOCAL enable_`)
	aCursor    = regexp.MustCompile(`(?i)^\s*DECLARE \w+ .*?CURSOR FOR`)
)

// during says which call the statements that come are of; "" for none.
func (p *spy) during(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name = name
}

// node is what a plan does with a table.
type node struct {
	Kind     string `json:"Node Type"`
	Relation string `json:"Relation Name"`
	Schema   string `json:"Schema"`
	Index    string `json:"Index Name"`
	Alias    string `json:"Alias"`
	Plans    []node `json:"Plans"`
}

// each visits the parts of a plan.
func (n node) each(visit func(node)) {
	visit(n)
	for _, p := range n.Plans {
		p.each(visit)
	}
}

// plan returns how the server would execute a statement.
func plan(t testing.TB, s *Store, st statement) (top node) {
	t.Helper()
	var text []byte
	must(t, s.tx(t.Context(), func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), `EXPLAIN (FORMAT JSON, VERBOSE) `+st.query, st.args...).Scan(&text)
	}))
	var plans []struct{ Plan node }
	must(t, json.Unmarshal(text, &plans))
	return plans[0].Plan
}

// bigTables fills a database as an installation of two years looks: 200,000 rows
// of export_logs, metrics and entries of the ledger.
const bigTables = `
	INSERT INTO public.export_logs (export_id, user_id, timestamp, format, config, conversation_count, file_size, status, file_url,
		expires_at, error_message, created_at, updated_at)
	SELECT md5(i::text)::uuid, md5('u' || i % 5000)::uuid, at, (ARRAY['json', 'jsonl', 'csv', 'markdown'])[1 + i % 4],
		'{"scope": "all"}', i % 1500, i, status, CASE WHEN status IN ('completed', 'expired') THEN 'f/' || i END,
		CASE WHEN status IN ('completed', 'expired') THEN at + interval '1 day' END, CASE status WHEN 'failed' THEN 'E: x' END, at, at + interval '3 s'
	FROM (SELECT i, '2025-10-31 12:00Z'::timestamptz - i * interval '5 min' AS at, CASE WHEN i % 20 = 0 THEN 'failed'
			WHEN i < 400 AND i % 40 = 1 THEN 'queued' WHEN i < 3000 THEN 'completed' ELSE 'expired' END AS status
		FROM generate_series(1, 200000) i) r;
	INSERT INTO exportops.export_metrics (export_id, user_id, format, status, attempt, source, conversation_count, duration_ms,
		file_size_bytes, error_type, timestamp, received_at, outcome, counted_hour)
	SELECT export_id, user_id, format, CASE status WHEN 'failed' THEN 'failed' ELSE 'completed' END, 1, 'measured', conversation_count, 3000,
		file_size, CASE status WHEN 'failed' THEN 'E' END, timestamp, timestamp AS received, true, date_trunc('hour', timestamp, 'UTC')
	FROM public.export_logs WHERE status <> 'queued';
	INSERT INTO exportops.rollup_hours (start, version, clean) SELECT DISTINCT counted_hour, 1, true FROM exportops.export_metrics;
	INSERT INTO exportops.rollup_users SELECT counted_hour, user_id, count(*) FROM exportops.export_metrics GROUP BY 1, 2;
	INSERT INTO exportops.deletions (export_id, user_id, mode, state, store, bucket, key, file_url, expires_at, row_status, run_id, token,
		attempts, claimed_at, finished_at)
	SELECT export_id, user_id, 'expiry', CASE file_size % 2000 WHEN 1 THEN 'failed' WHEN 2 THEN 'quarantined' ELSE 'deleted' END,
		's', 'b', file_url AS key, file_url, expires_at, 'completed', 'r', 1, 1, expires_at AS claimed, expires_at AS finished
	FROM public.export_logs WHERE status = 'expired';
	UPDATE exportops.deletions d SET chain_day = d.claimed_at::date, chain_seq = d.id, digest = '\x00', content = '\x00', chain_hash = '\x00';
	ANALYZE public.export_logs; ANALYZE exportops.export_metrics; ANALYZE exportops.deletions; ANALYZE exportops.rollup_hours;
	ANALYZE exportops.rollup_users`

// bigTablesOf are the tables that hold more than can be walked through.
var bigTablesOf = []string{"export_logs", "export_metrics", "deletions", "rollup_users"}

// mainIndexes says by which index each call comes to the rows it is about.
var mainIndexes = map[string]string{
	"Candidates expiry":          "export_logs_expires_at",
	"CountCandidatesUpTo expiry": "export_logs_expires_at", "CountCandidatesUpTo erasure": "export_logs_user_id",
	"CountLogRowsUpTo age": "export_logs_timestamp", "CountLogRowsUpTo user": "export_logs_user_id",
	"CountLogRowsUpTo user and age": "export_logs_user_id", "FinishedRuns": "runs_finished",
	"Candidates erasure": "export_logs_user_id", "CountCandidates erasure": "export_logs_user_id",
	"CandidatesByID": "export_logs_export_id_key", "ClaimFiles": "export_logs_expires_at",
	"ClaimFiles by id": "export_logs_export_id_key", "Settle": "export_logs_export_id_key",
	"Reclaim": "deletions_open", "Reclaim by id": "deletions_open", "ReclaimUnknown": "deletions_open", "KeyRows since": "export_logs_timestamp",
	"NamedFiles since": "export_logs_timestamp",
	"StuckExports":     "export_logs_status", "FailStuck": "export_logs_export_id_key",
	"Deletions open": "deletions_open", "Deletions open before": "deletions_open", "Deletions of an export": "deletions_export",
	"Deletions of an export and run": "deletions_export",
	"Deletions failed":               "deletions_failed", "Deletions quarantined": "deletions_failed",
	"DeletionsOf":    "deletions_export",
	"ChainDeletions": "deletions_unchained", "Unchained": "deletions_unchained",
	"ChainDays": "deletions_chain", "ChainLinks": "deletions_chain", "ForgetDeletions": "deletions_chain",
	"LogRows age": "export_logs_timestamp", "DeleteLogRows age": "export_logs_timestamp",
	"LogRows user": "export_logs_user_id", "LogRows user and age": "export_logs_user_id",
	"CountLogRows user": "export_logs_user_id", "CountLogRows user and age": "export_logs_user_id",
	"DeleteLogRows user": "export_logs_user_id", "DeleteLogRows user and age": "export_logs_user_id",
	"LogRowsByID":  "export_logs_pkey",
	"ArchivedRows": "export_logs_pkey", "DeleteArchived": "export_logs_pkey",
	"Outcomes": "export_logs_timestamp", "InProgress": "export_metrics_progress",
	"CreateExport": "export_logs_export_id_key", "UpdateExport": "export_logs_export_id_key",
	"Export": "export_logs_export_id_key", "Exports": "export_logs_timestamp", "Exports between": "export_logs_timestamp",
	"Exports of a user": "export_logs_user_id", "Exports failed": "export_logs_timestamp",
	"Exports queued":  "export_logs_status",
	"ImportExports":   "export_logs_export_id_key",
	"RecordMetrics":   "export_metrics_export_id_status_attempt_key",
	"Observe":         "export_logs_timestamp",
	"Counted":         "export_metrics_counted",
	"FirstActivity":   "export_logs_timestamp",
	"TopUsers rows":   "export_logs_timestamp",
	"TopUsers rolled": "rollup_users_pkey",
	"Errors rows":     "export_logs_timestamp",
}

// wholeTables says which calls may walk through a table, and why.
var wholeTables = map[string]string{
	"Candidates age":                  "no index is in the order of created_at",
	"CountCandidates age":             "likewise",
	"CountLogRows age":                "it is about nearly all rows",
	"Candidates log_cleanup":          "nearly all rows are confirmed, and passed to find the others",
	"CountCandidates log_cleanup":     "likewise",
	"KeyRows":                         "it is about all files that are live",
	"Deletions":                       "the newest first, until the page is full",
	"Deletions deleted":               "what nearly all entries are",
	"Deletions between":               "an index in the order of time would cost every claim",
	"Deletions of a run":              "a run's entries lie together; an index would cost every claim",
	"LogStatistics":                   "it adds up nearly all rows",
	"Diagnose":                        "it looks at the whole table once",
	"Traces":                          "an erasure looks at all there is once; indexes on users would cost every claim",
	"UserLeft":                        "likewise",
	"Traces beside":                   "as Traces",
	"ForgetDeletions":                 "a few hundred at a time, oldest first",
	"CountCandidatesUpTo age":         "likewise, until it is enough",
	"CountCandidatesUpTo log_cleanup": "likewise, until it is enough",
	"Candidates policy":               "it reads every row, page by page",
	"CountCandidates policy":          "likewise",
	"CountCandidatesUpTo policy":      "likewise, until it is enough",
	"NamedFiles":                      "it is about every row that names a file",
}

var aPage = regexp.MustCompile(` (first|next) page`)

func TestStatementsUseTheIndexes(t *testing.T) {
	url := newDatabase(t)
	run(t, url, bigTables)
	watch := newSpy()
	s, err := open(t.Context(), Options{URL: url}, watch)
	must(t, err)
	defer s.Close()
	exercise(t, s, watch.during)
	watch.during("")
	used := map[string]bool{}
	for name, statements := range watch.seen {
		call := aPage.ReplaceAllString(name, "")
		used[call] = true
		var indexes, shown []string
		for _, st := range statements {
			plan(t, s, st).each(func(n node) {
				indexes = append(indexes, n.Index)
				if n.Relation != "" || n.Index != "" {
					shown = append(shown, strings.Join(strings.Fields(n.Kind+" "+n.Relation+" "+n.Index), " "))
				}
			})
		}
		for _, table := range bigTablesOf {
			if slices.ContainsFunc(shown, func(step string) bool { return strings.HasSuffix(step, "Seq Scan "+table) }) && wholeTables[call] == "" {
				t.Errorf("%s walks through %s: %q", name, table, shown)
			}
		}
		if want := mainIndexes[call]; want != "" && !slices.Contains(indexes, want) {
			t.Errorf("%s does not use %s: %q", name, want, shown)
		}
	}
	for call := range mainIndexes {
		if !used[call] {
			t.Errorf("nothing is known of %s", call)
		}
	}
}
