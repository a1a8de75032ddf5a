package sqlite

import (
	"database/sql/driver"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// plansOf explains every statement that exercise makes the store execute.
func plansOf(t *testing.T) map[string][]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	s, err := Open(t.Context(), Options{Path: path, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	type statement struct {
		query string
		args  []any
	}
	statements, name := map[string][]statement{}, ""
	seen := func(query string, args []driver.NamedValue) {
		if name == "" || strings.HasPrefix(query, "PRAGMA") { // what exercise prepares, and what explains
			return
		}
		st := statement{query: query}
		for _, a := range args {
			st.args = append(st.args, a.Value)
		}
		if !slices.ContainsFunc(statements[name], func(o statement) bool { return o.query == query }) {
			statements[name] = append(statements[name], st)
		}
	}
	spyOn(t, &s.write, path, seen)
	spyOn(t, &s.read, path, seen)
	exercise(t, s, func(n string) { name = n })
	name = ""
	plans := map[string][]string{}
	for n, all := range statements {
		for _, st := range all {
			rows, err := s.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+st.query, st.args...)
			if err != nil {
				t.Fatal(err)
			}
			if err := scanAll(rows, func() error {
				var a, b, c int
				var detail string
				err := rows.Scan(&a, &b, &c, &detail)
				plans[n] = append(plans[n], detail)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return plans
}

// mainIndexes says by which index each call comes to the rows it is about.
var mainIndexes = map[string]string{
	"ActiveRuns": "exportops_runs_active", "BeginRun": "exportops_runs_active", "EndsSince": "exportops_runs_finished", "LastRun": "exportops_runs_finished",
	"Schedule": "exportops_runs_slot", "Run": "sqlite_autoindex_exportops_runs", "FinishRun": "sqlite_autoindex_exportops_runs",
	"Candidates expiry": "export_logs_expires_at", "CountCandidates expiry": "export_logs_expires_at",
	"Candidates age": "export_logs_status", "CountCandidates age": "export_logs_status",
	"Candidates log_cleanup": "export_logs_timestamp", "CountCandidates log_cleanup": "export_logs_timestamp",
	"Candidates erasure": "export_logs_user_id", "CountCandidates erasure": "export_logs_user_id",
	"CountCandidatesUpTo expiry": "export_logs_expires_at", "CountCandidatesUpTo age": "export_logs_status",
	"CountCandidatesUpTo log_cleanup": "export_logs_timestamp", "CountCandidatesUpTo erasure": "export_logs_user_id",
	"CountLogRowsUpTo age": "export_logs_timestamp", "CountLogRowsUpTo user": "export_logs_user_id",
	"CountLogRowsUpTo user and age": "export_logs_user_id", "FinishedRuns": "exportops_runs_finished",
	"CandidatesByID": "sqlite_autoindex_export_logs_2", // of export_id
	"ClaimFiles":     "export_logs_expires_at", "ClaimFiles by id": "sqlite_autoindex_export_logs_2",
	"Settle": "sqlite_autoindex_export_logs_2", "Reclaim": "exportops_deletions_open", "Reclaim by id": "exportops_deletions_open",
	"KeyRows": "export_logs_status", "KeyRows since": "export_logs_timestamp",
	"NamedFiles since":     "export_logs_timestamp",
	"UnknownFiles by key":  "exportops_unknown_files",
	"UnknownFiles between": "exportops_unknown_files", "ForgetUnknown": "exportops_unknown_files_ended",
	"ChangeExpiry": "sqlite_autoindex_export_logs_2",
	"ClaimUnknown": "exportops_deletions_failed", "ReclaimUnknown": "exportops_deletions_open",
	"Settle of unknown files": "exportops_unknown_files",
	"MissingFiles by id":      "exportops_missing_files", "StuckExports": "export_logs_status", "FailStuck": "sqlite_autoindex_export_logs_2",
	"Deletions open": "exportops_deletions_open", "Deletions of an export": "exportops_deletions_export",
	"Deletions of an export and run": "exportops_deletions_export",
	"Deletions failed":               "exportops_deletions_failed", "Deletions quarantined": "exportops_deletions_failed",
	"DeletionsOf":    "exportops_deletions_export",
	"ChainDeletions": "exportops_deletions_unchained", "Unchained": "exportops_deletions_unchained",
	"ChainDays": "exportops_deletions_chain", "ChainLinks": "exportops_deletions_chain",
	"ForgetDeletions": "exportops_deletions_chain",
	"LogRows age":     "export_logs_timestamp", "CountLogRows age": "export_logs_timestamp",
	"DeleteLogRows age": "export_logs_timestamp",
	"LogRows user":      "export_logs_user_id", "LogRows user and age": "export_logs_user_id",
	"CountLogRows user": "export_logs_user_id", "CountLogRows user and age": "export_logs_user_id",
	"DeleteLogRows user": "export_logs_user_id", "DeleteLogRows user and age": "export_logs_user_id",
	"LogRowsByID":  "sqlite_autoindex_export_logs_1",
	"ArchivedRows": "sqlite_autoindex_export_logs_1", "DeleteArchived": "sqlite_autoindex_export_logs_1",
	"AdoptArchives": "exportops_archives_unfinished", "BeginArchive": "sqlite_autoindex_exportops_archives_1",
	"PlaceHold": "exportops_holds_active", "PlaceHold of a user": "exportops_holds_active", "ForgetHolds": "exportops_holds_released",
	"HeldRows":           "export_logs_user_id",
	"ClaimNotifications": "exportops_notifications_pending", "HasNotification": "sqlite_autoindex_exportops_notifications_2",
	"SettleNotification": "sqlite_autoindex_exportops_notifications_1", "RetryNotifications": "sqlite_autoindex_exportops_notifications_1",
	"NotificationBacklog": "exportops_notifications_dead", "ForgetAlerts": "exportops_notifications_created",
	"LogStatistics": "export_logs_timestamp", "Outcomes": "export_logs_timestamp", "InProgress": "export_logs_status",
}

// wholeTables says which calls may walk through a table, and why.
var wholeTables = map[string]string{
	"Deletions":                  "the newest first, until the page is full",
	"Deletions deleted":          "what nearly all entries are",
	"Deletions between":          "likewise; ids are nearly in the order of time",
	"Deletions by id":            "by its number",
	"Deletions of a run":         "a run's entries lie together; an index would cost every claim",
	"Clock":                      "the newest first, until one is a cleanup",
	"Runs":                       "the newest first, until the page is full; there are a few thousand",
	"Runs of a job":              "a few thousand",
	"Runs active":                "a few thousand",
	"Runs failed":                "a few thousand",
	"Traces":                     "an erasure looks at all there is once; indexes on users would cost every claim",
	"EraseTraces":                "an erasure does so once for a page of them",
	"UserLeft":                   "likewise",
	"RestoreBeside":              "SQLite keeps few tables",
	"BesideTables":               "likewise",
	"DropBeside":                 "likewise",
	"Traces beside":              "as Traces",
	"EraseTraces beside":         "of the tables there are few; the rows are found by their numbers",
	"UserHash":                   "it has one row",
	"Erasures":                   "the newest first, until the page is full",
	"Archives":                   "the newest first, until the page is full",
	"Archives done":              "what nearly all of them are",
	"LastHold":                   "SQLite keeps one row for a table",
	"Holds":                      "the newest first, until the page is full",
	"Holds of a user":            "likewise: there are a few thousand",
	"LogStatistics":              "the oldest time, from the index; it stops at the first that can be read",
	"Candidates policy":          "it reads every row, page by page",
	"CountCandidates policy":     "likewise",
	"CountCandidatesUpTo policy": "likewise, until it is enough",
	"NamedFiles":                 "it is about every row that names a file",
	"Incidents":                  "the newest first, until the page is full",
	"Silences":                   "there are a few",
	"Backlog":                    "it counts the missing files and the faulty archives, which are few",
	"Notifications":              "the newest first, until the page is full",
}

// wholeStatus says which calls may take the index on status to all completed
// rows, and why.
var wholeStatus = map[string]string{
	"Candidates age":          "no index is in the order of created_at",
	"CountCandidates age":     "likewise",
	"CountCandidatesUpTo age": "likewise, until it is enough",
	"KeyRows":                 "it is about all files that are live",
	"Backlog":                 "likewise: it adds up their sizes",
	"StuckExports":            "likewise what is in progress, which is little",
	"InProgress":              "it asks for what is queued and processing alone, which is little",
}

// sorted says which calls may sort what they read, because it is little.
var sorted = []string{"ActiveRuns", "Deletions open", "Deletions of an export", "Deletions of an export and run", "Reclaim", "Reclaim by id", "ReclaimUnknown", "ChainDays", "ChainLinks", "DeletionsOf", "StuckExports", "FailStuck", "Traces", "Traces beside"}

var (
	aScan = regexp.MustCompile(`^SCAN (\S+)`)
	aWalk = regexp.MustCompile(`\(rowid[<>]\?\)`)
	aPage = regexp.MustCompile(` (first|next) page| before`)
	// The days of the chain are some hundreds at most; what is read of them, and of
	// a page of links, has names that SQLite made up.
	notTables = []string{"CONSTANT", "json_each", "j", "exportops_deletion_days", "seen", "moved", "x", "p", "spelt"}
)

var partialIndexes = []string{
	"exportops_deletions_open", "exportops_deletions_unchained", "exportops_runs_active", "exportops_archives_unfinished",
	"exportops_holds_active", "exportops_incidents_open", "exportops_notifications_pending", "exportops_notifications_dead",
}

func TestStatementsUseTheIndexes(t *testing.T) {
	plans := plansOf(t)
	may := func(list map[string]string, name string) bool { return list[aPage.ReplaceAllString(name, "")] != "" }
	for name, plan := range plans {
		for _, step := range plan {
			table := aScan.FindStringSubmatch(step)
			scan := table != nil && !strings.HasPrefix(table[1], "(subquery") && !slices.Contains(notTables, table[1])
			// All of a partial index is the few rows it is about; so are the holds that
			// were placed since somebody looked.
			partial := strings.HasPrefix(step, "SEARCH h ") || slices.ContainsFunc(partialIndexes, func(index string) bool {
				return strings.Contains(step, index)
			})
			switch {
			case strings.Contains(step, "AUTOMATIC"):
				t.Errorf("%s builds an index of its own: %s", name, step)
			case (scan || aWalk.MatchString(step)) && !partial && !may(wholeTables, name):
				t.Errorf("%s walks through a table: %s", name, step)
			case strings.Contains(step, "exportops_export_metrics_counted (counted_hour=?)"):
				t.Errorf("%s reads all metrics of an hour for each row: %s", name, step)
			case strings.Contains(step, "export_logs_status") && !may(wholeStatus, name):
				t.Errorf("%s reads all rows of a status: %s", name, step)
			case strings.Contains(step, "FOR ORDER BY") && !slices.Contains(sorted, aPage.ReplaceAllString(name, "")):
				t.Errorf("%s sorts: %q", name, plan)
			}
		}
	}
	used := map[string]bool{}
	for name, plan := range plans {
		call := aPage.ReplaceAllString(name, "")
		used[call] = true
		if index := mainIndexes[call]; !slices.ContainsFunc(plan, func(step string) bool { return strings.Contains(step, " "+index) }) {
			t.Errorf("%s does not use %s: %q", name, index, plan)
		}
	}
	for call := range mainIndexes {
		if !used[call] {
			t.Errorf("nothing is known of %s", call)
		}
	}
}
