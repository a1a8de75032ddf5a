package cleanup_test

import (
	"strings"
	"testing"

	"github.com/exportops/exportops"
)

// diedForOthers is a world with an archive that a dead log cleanup began, of five rows,
// two of which are a user's. A third row of the user's is young.
func diedForOthers(t *testing.T, call string) *archives {
	t.Helper()
	a := newArchives(t)
	a.Exec(`UPDATE export_logs SET user_id = ? WHERE export_id IN (?, ?, ?)`, other, id(6), id(8), id(22))
	a.diesIn(t, call, false)
	return a
}

// wantUsers fails unless a run counts the user's rows, and nothing of others, whose
// number is left in the table.
func (a *archives) wantUsers(t *testing.T, res exportops.LogCleanupResult, left int64) {
	t.Helper()
	want(t, "found, deleted, archived", [3]int64{res.TotalFound, res.DeletedCount, res.ArchivedCount}, [3]int64{3, 3, 3})
	all := a.Archives()
	want(t, "states", a.states(), []string{"done", "done"})
	want(t, "bytes", res.ArchivedSizeBytes, all[0].Bytes*2/5+all[1].Bytes)
	want(t, "rows of the user", a.Count(`SELECT count(*) FROM export_logs WHERE user_id = ?`, other), 0)
	want(t, "rows of others", a.Count(`SELECT count(*) FROM export_logs`), left)
	_, times := a.Archived(a.to)
	for id, n := range times {
		if n > 1 {
			t.Errorf("row %s is in %d archives", id, n)
		}
	}
}

func TestAUsersCleanupFinishesWhatADeadOneArchived(t *testing.T) {
	t.Run("and_leaves_rows_of_others_that_the_retention_policy_keeps_by_now", func(t *testing.T) {
		a := diedForOthers(t, "to verified")
		p := keep(t, exportops.Rule{Name: "failed", Match: exportops.Match{Statuses: []exportops.Status{exportops.Failed}}, Files: exportops.Never, Logs: exportops.KeepFor(3000 * day)})
		req := logCall
		ofUser(other)(&req)
		answer, err := a.Runner(a.Archiving(a.to), under(p)).Run(t.Context(), req)
		a.Must(err)
		a.wantUsers(t, *answer.Result.Logs, 10)
	})
	t.Run("and_counts_the_user's_rows_alone", func(t *testing.T) {
		a := diedForOthers(t, "to verified")
		a.wantUsers(t, a.mustRun(t, ofUser(other)), 7)
	})
	for _, call := range []string{"to written", "to verified", "to deleting", "DeleteArchived", "to done"} {
		for when, after := range map[string]bool{"before": false, "after": true} {
			t.Run("and_counts_the_same_where_it_dies_itself/"+when+"_"+strings.ReplaceAll(call, " ", "_"), func(t *testing.T) {
				a := diedForOthers(t, "to written")
				a.diesIn(t, call, after, ofUser(other))
				req := logCall
				ofUser(other)(&req)
				answer, err := a.Runner(a.Archiving(a.to)).Run(t.Context(), req)
				a.Must(err)
				want(t, "how it began", answer.Beginning, exportops.TookOver)
				a.wantUsers(t, *answer.Result.Logs, 7)
			})
		}
	}
}
