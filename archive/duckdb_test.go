package archive_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
	"github.com/exportops/exportops/jobs"
)

// DuckDB reads what we write, in folders as an archive has them.
func TestDuckDBAgrees(t *testing.T) {
	const variable = "EXPORTOPS_TEST_DUCKDB"
	program := os.Getenv(variable)
	if program == "" {
		t.Skip("needs DuckDB: set " + variable + ", or run scripts/servers duckdb -- go test ./archive")
	}
	dir := t.TempDir()
	rows := append(some(9000), awkward()...)
	file, sum := write(t, rows...)
	old, err := os.ReadFile(filepath.Join("testdata", "v1.parquet"))
	check(t, err)
	for key, b := range map[string][]byte{archive.NameOf(october, 1, sum.SHA256).Key(): file, "v1.parquet": old} {
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, key)), 0o755))
		check(t, os.WriteFile(filepath.Join(dir, key), b, 0o644))
	}
	var bytes, conversations, timed, exact, metrics int64
	for _, r := range rows {
		if r.FileSize != nil && *r.FileSize < 1<<40 {
			bytes += *r.FileSize
		}
		if r.Format == "csv" {
			conversations += r.ConversationCount
		}
		if strings.HasPrefix(r.Timestamp, "2025-10-01T01:") {
			timed++
		}
		for _, text := range []string{r.ID, r.Config} {
			if strings.ToValidUTF8(text, "") != text {
				exact++
				break
			}
		}
		if r.Metric != nil {
			metrics++
		}
	}
	all := "'" + filepath.Join(dir, "export_logs", "**", "*.parquet") + "'"
	from := " FROM " + all
	export := from + " WHERE export_id = '" + rows[7].ExportID + "'"
	asked := []struct{ name, query, want string }{
		{"counts_rows", "SELECT count(*)" + from, fmt.Sprint(len(rows))},
		{"adds_up", "SELECT sum(file_size)" + from + " WHERE file_size < 1::BIGINT << 40", fmt.Sprint(bytes)},
		{"groups", "SELECT sum(conversation_count)" + from + " WHERE format = 'csv'", fmt.Sprint(conversations)},
		{
			"filters_by_time", "SELECT count(*)" + from + " WHERE timestamp_utc >= TIMESTAMPTZ '2025-10-01 01:00:00Z' " +
				"AND timestamp_utc < TIMESTAMPTZ '2025-10-01 02:00:00Z'", fmt.Sprint(timed),
		},
		{"finds_an_export", "SELECT id" + export, rows[7].ID},
		{"looks_into_the_metric", "SELECT metric.duration_ms" + export, fmt.Sprint(*rows[7].Metric.DurationMS)},
		{"knows_which_have_a_metric", "SELECT count(metric)" + from, fmt.Sprint(metrics)},
		{"takes_folders_for_columns", "SELECT DISTINCT year || '-' || month" + from, "2025-10"},
		{"reads_long_texts", "SELECT max(length(config)) > 1000" + from, "true"},
		{"reads_zero_bytes", "SELECT config" + from + " WHERE config LIKE 'a%b'", "a\x00b"},
		{"reads_what_is_no_UTF-8", "SELECT count(exact)" + from, fmt.Sprint(exact)},
		{"reads_the_first_version", "SELECT count(*) FROM '" + filepath.Join(dir, "v1.parquet") + "'", "15"},
	}
	rewritten := rewrittenFolder(t)
	of := " FROM '" + filepath.Join(rewritten.to.Folder, "export_logs", "**", "*.parquet") + "'"
	ours, _ := rewritten.Archived(rewritten.to)
	asked = append(asked, []struct{ name, query, want string }{
		{"counts_rows_after_an_erasure", "SELECT count(*) || ' in ' || count(DISTINCT filename)" +
			strings.Replace(of, "'", "read_parquet('", 1) + ", filename = true)", fmt.Sprintf("%d in %d", len(ours), 3)},
		{"counts_each_row_once_after_an_erasure", "SELECT count(DISTINCT id)" + of, fmt.Sprint(len(ours))},
		{"finds_nothing_of_who_was_erased", "SELECT count(*)" + of + " WHERE lower(user_id) = '" + another + "'", "0"},
		{"looks_into_the_metrics_after_an_erasure", "SELECT count(metric.status)" + of, fmt.Sprint(len(ours))},
	}...)
	args := make([]string, len(asked))
	for i, a := range asked {
		args[i] = a.query
	}
	out, err := exec.CommandContext(t.Context(), program, args...).Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		t.Fatalf("%v: %s", err, failed.Stderr)
	}
	check(t, err)
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(answers) != len(asked) {
		t.Fatalf("%d answers to %d questions: %s", len(answers), len(asked), out)
	}
	for i, a := range asked {
		t.Run(a.name, func(t *testing.T) {
			var got []map[string]any
			check(t, json.Unmarshal([]byte(answers[i]), &got))
			if len(got) != 1 || len(got[0]) != 1 {
				t.Fatalf("%s: %s", a.query, answers[i])
			}
			for _, value := range got[0] {
				if diff := cmp.Diff(a.want, fmt.Sprint(value)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", a.query, diff)
				}
			}
		})
	}
}

// rewrittenFolder is a world of archives from which a user was erased.
func rewrittenFolder(t *testing.T) archived {
	t.Helper()
	a := newArchived(t)
	before := a.to.Keys()
	answer, err := a.Runner(a.Archiving(a.to)).Run(t.Context(), jobs.Request{
		Job: exportops.EraseUser, Trigger: exportops.ByCommand, UserID: another,
	})
	check(t, err)
	if r := answer.Result.Erased; r == nil || r.Receipt == nil || r.Archives != 3 || r.Archived != 30 {
		t.Fatalf("the erasure: %+v", r)
	}
	for _, key := range a.to.Keys() {
		if slices.Contains(before, key) {
			t.Fatalf("%s was not written anew", key)
		}
	}
	return a
}
