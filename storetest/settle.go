package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testSettle(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("a_confirmed_file_expires_its_row", func(t *testing.T) { confirmed(t, open) })
	t.Run("what_changed_meanwhile_is_left_alone", func(t *testing.T) { changedMeanwhile(t, open) })
	t.Run("only_a_completed_row_expires", func(t *testing.T) { otherStatuses(t, open) })
	t.Run("a_row_without_a_file_expires", func(t *testing.T) { withoutFile(t, open(t)) })
	t.Run("what_is_known_is_frozen_first", func(t *testing.T) { frozen(t, open) })
	t.Run("all_or_nothing", func(t *testing.T) { allOrNothing(t, open) })
	t.Run("nothing_to_settle", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started)
		if out, err := f.Store.Settle(t.Context(), check(fence, noon), nil); err != nil || len(out) != 0 {
			t.Fatalf("%+v %v", out, err)
		}
	})
}

// settleOne settles one claim, or a row without one.
func settleOne(t testing.TB, f Fixture, fence exportops.Fence, s exportops.Settlement) exportops.Settled {
	t.Helper()
	out, err := f.Store.Settle(t.Context(), check(fence, noon), []exportops.Settlement{s})
	must(t, err)
	if len(out) != 1 {
		t.Fatalf("%d outcomes of one settlement", len(out))
	}
	return out[0]
}

// isStatus fails unless the row has this status.
func isStatus(t testing.TB, f Fixture, exportID, status string) {
	t.Helper()
	if f.Count(t, `SELECT count(*) FROM {logs} WHERE export_id = ? AND status = ?`, exportID, status) != 1 {
		t.Fatalf("export %.40q is not %s", exportID, status)
	}
}

func confirmed(t *testing.T, open func(testing.TB) Fixture) {
	for state, expires := range map[exportops.DeletionState]bool{
		exportops.DeletionDone: true, exportops.DeletionAbsent: true, exportops.DeletionFailed: false, exportops.DeletionChanged: false,
	} {
		t.Run(string(state), func(t *testing.T) {
			f := open(t)
			r, beside := due(after(noon, -time.Hour)), due(after(noon, time.Hour))
			f.Insert(t, r, beside)
			_, fence := begin(t, f, exportops.Started)
			c := claim(t, f, fence).Claims[0]
			got := settleOne(t, f, fence, exportops.Settlement{Claim: c, State: state, Bytes: 12, Evidence: "e", Error: "why"})
			if d := cmp.Diff(exportops.Settled{State: state, RowExpired: expires}, got); d != "" {
				t.Fatalf("settled (-want +got):\n%s", d)
			}
			want := *c
			want.State, want.Bytes, want.Evidence, want.Error, want.FinishedAt = state, 12, "e", "why", &noon
			if state == exportops.DeletionFailed {
				want.Failures = 1
			}
			if d := cmp.Diff([]exportops.Deletion{want}, ledger(t, f)); d != "" {
				t.Fatalf("the entry (-want +got):\n%s", d)
			}
			status := "completed"
			if expires {
				status = "expired"
			}
			isStatus(t, f, r.ExportID, status)
			isStatus(t, f, beside.ExportID, "completed")
			touched := f.Count(t, `SELECT count(*) FROM {logs} WHERE export_id = ? AND updated_at = ?`, r.ExportID, noon.String())
			if (touched == 1) != expires {
				t.Fatalf("updated_at is ours: %v, want %v", touched == 1, expires)
			}
		})
	}
}

func changedMeanwhile(t *testing.T, open func(testing.TB) Fixture) {
	for name, change := range map[string]string{
		"status": `status = 'processing'`, "expired_elsewhere": `status = 'expired'`, "file_url": `file_url = 'again'`,
		"no_file_url": `file_url = NULL`, "expires_at": `expires_at = '2999-01-01T00:00:00.000Z'`, "no_expires_at": `expires_at = NULL`,
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			r, beside := due(after(noon, -2*time.Hour)), due(after(noon, -time.Hour))
			f.Insert(t, r, beside)
			_, fence := begin(t, f, exportops.Started)
			page := claim(t, f, fence)
			f.Exec(t, `UPDATE {logs} SET updated_at = 'theirs', `+change+` WHERE export_id = ?`, r.ExportID)
			out, err := f.Store.Settle(t.Context(), check(fence, noon), []exportops.Settlement{
				{Claim: page.Claims[0], State: exportops.DeletionDone, Bytes: 12}, {Claim: page.Claims[1], State: exportops.DeletionDone},
			})
			must(t, err)
			want := []exportops.Settled{{State: exportops.DeletionChanged, RowUnlike: true}, {State: exportops.DeletionDone, RowExpired: true}}
			if d := cmp.Diff(want, out); d != "" {
				t.Fatalf("settled (-want +got):\n%s", d)
			}
			var l exportops.Deletion
			for _, d := range ledger(t, f) {
				if d.ID == page.Claims[0].ID {
					l = d
				}
			}
			if l.State != exportops.DeletionChanged || l.Bytes != 12 || l.Evidence != string(exportops.DeletionDone) || l.Error == "" || l.FinishedAt == nil {
				t.Fatalf("the entry is %+v, want it changed, and to say what storage did", l)
			}
			if n := f.Count(t, `SELECT count(*) FROM {logs} WHERE export_id = ? AND updated_at = 'theirs'`, r.ExportID); n != 1 {
				t.Fatal("the row was touched")
			}
			isStatus(t, f, beside.ExportID, "expired")
		})
	}
	t.Run("row_gone", func(t *testing.T) {
		f := open(t)
		f.Insert(t, due(after(noon, -time.Hour)))
		_, fence := begin(t, f, exportops.Started)
		page := claim(t, f, fence)
		f.Exec(t, `DELETE FROM {logs}`)
		if got := settleOne(t, f, fence, exportops.Settlement{Claim: page.Claims[0], State: exportops.DeletionAbsent}); got.RowExpired || !got.RowUnlike || got.State != exportops.DeletionChanged {
			t.Fatalf("settled as %+v", got)
		}
	})
	t.Run("what_failed_failed_all_the_same", func(t *testing.T) {
		f := open(t)
		f.Insert(t, due(after(noon, -time.Hour)))
		_, fence := begin(t, f, exportops.Started)
		page := claim(t, f, fence)
		f.Exec(t, `UPDATE {logs} SET status = 'processing'`)
		got := settleOne(t, f, fence, exportops.Settlement{Claim: page.Claims[0], State: exportops.DeletionFailed})
		if d := cmp.Diff(exportops.Settled{State: exportops.DeletionFailed}, got); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
	})
}

// otherStatuses settles claims of rows that say failed or expired already.
func otherStatuses(t *testing.T, open func(testing.TB) Fixture) {
	for _, status := range []string{"failed", "expired"} {
		for _, mode := range []exportops.Mode{exportops.ByLogCleanup, exportops.ByErasure} {
			t.Run(status+"_"+string(mode), func(t *testing.T) {
				f := open(t)
				r := due(after(noon, -time.Hour), func(r *Row) { r.Status, r.UpdatedAt = status, "theirs" })
				f.Insert(t, r)
				_, fence := begin(t, f, exportops.Started)
				page := claim(t, f, fence, func(q *exportops.ClaimRequest) {
					q.Selection = exportops.Selection{Mode: mode, Cut: noon, UserID: r.UserID}
				})
				got := settleOne(t, f, fence, exportops.Settlement{Claim: page.Claims[0], State: exportops.DeletionDone})
				if d := cmp.Diff(exportops.Settled{State: exportops.DeletionDone}, got); d != "" {
					t.Fatalf("(-want +got):\n%s", d)
				}
				if n := f.Count(t, `SELECT count(*) FROM {logs} WHERE status = ? AND updated_at = 'theirs'`, status); n != 1 {
					t.Fatal("the row was touched")
				}
			})
		}
	}
	t.Run("completed_age", func(t *testing.T) {
		f := open(t)
		f.Insert(t, Row{FileURL: ptr("a")}.Complete(after(noon, -time.Hour))) // never expires
		_, fence := begin(t, f, exportops.Started)
		page := claim(t, f, fence, func(q *exportops.ClaimRequest) { q.Selection = exportops.Selection{Mode: exportops.ByAge, Cut: noon} })
		if got := settleOne(t, f, fence, exportops.Settlement{Claim: page.Claims[0], State: exportops.DeletionDone}); !got.RowExpired {
			t.Fatalf("settled as %+v", got)
		}
	})
	t.Run("completed_since", func(t *testing.T) { // by the application, under the same name
		f := open(t)
		r := due(after(noon, -time.Hour), func(r *Row) { r.Status = "failed" })
		f.Insert(t, r)
		_, fence := begin(t, f, exportops.Started)
		page := claim(t, f, fence, func(q *exportops.ClaimRequest) { q.ExportIDs = []string{r.ExportID} })
		f.Exec(t, `UPDATE {logs} SET status = 'completed'`)
		if got := settleOne(t, f, fence, exportops.Settlement{Claim: page.Claims[0], State: exportops.DeletionDone}); got.RowExpired {
			t.Fatalf("settled as %+v", got)
		}
		isStatus(t, f, r.ExportID, "completed")
	})
}

func withoutFile(t *testing.T, f Fixture) {
	hour := after(noon, -time.Hour)
	r := due(hour, func(r *Row) { r.FileURL = ptr("/api/export/download/x") })
	none := due(after(hour, time.Second))
	none.FileURL = nil
	changed, failed := due(after(hour, 2*time.Second)), due(after(hour, 3*time.Second))
	f.Insert(t, r, none, changed, failed)
	page, _, err := f.Store.Candidates(t.Context(), claimAll.Selection, "", 9)
	must(t, err)
	f.Exec(t, `UPDATE {logs} SET file_url = 'again' WHERE export_id = ?`, changed.ExportID)
	f.Exec(t, `UPDATE {logs} SET status = 'failed' WHERE export_id = ?`, failed.ExportID)
	_, fence := begin(t, f, exportops.Started)
	batch := make([]exportops.Settlement, len(page))
	for i := range page {
		batch[i].Row = &page[i]
	}
	out, err := f.Store.Settle(t.Context(), check(fence, noon), batch)
	must(t, err)
	want := []exportops.Settled{{RowExpired: true}, {RowExpired: true}, {RowUnlike: true}, {RowUnlike: true}}
	if d := cmp.Diff(want, out); d != "" {
		t.Fatalf("settled (-want +got):\n%s", d)
	}
	isStatus(t, f, r.ExportID, "expired")
	isStatus(t, f, none.ExportID, "expired")
	isStatus(t, f, changed.ExportID, "completed")
	isStatus(t, f, failed.ExportID, "failed")
	if l := ledger(t, f); len(l) != 0 {
		t.Fatalf("the ledger holds %+v, but there was no file", l)
	}
}

// frozen expires rows whose outcome nobody has recorded yet.
func frozen(t *testing.T, open func(testing.TB) Fixture) {
	expire := func(t *testing.T, f Fixture, r Row) {
		t.Helper()
		f.Insert(t, r)
		_, fence := begin(t, f, exportops.Started)
		page := claim(t, f, fence)
		if got := settleOne(t, f, fence, exportops.Settlement{Claim: page.Claims[0], State: exportops.DeletionDone}); !got.RowExpired {
			t.Fatalf("settled as %+v", got)
		}
	}
	t.Run("the_duration_is_that_of_the_export", func(t *testing.T) {
		f := open(t)
		r := due(after(noon, -time.Hour), func(r *Row) { r.FileSize, r.Conversations = ptr(int64(7)), 500 })
		expire(t, f, r)
		asked := after(noon, -25*time.Hour)
		want := exportops.Outcome{
			Time: asked, UserID: r.UserID, Format: exportops.JSONL, CountRange: exportops.Large, Status: exportops.Completed,
			DurationMS: ptr(took.Milliseconds()), SizeBytes: ptr(int64(7)),
		}
		if d := cmp.Diff([]exportops.Outcome{want}, outcomes(t, f)); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
		want.Time = asked.Hour()
		if d := cmp.Diff([]exportops.Outcome{want}, counted(t, f, asked.Hour())); d != "" {
			t.Fatalf("counted (-want +got):\n%s", d)
		}
		if s := stateOf(t, f, asked.Hour()); s.Clean {
			t.Fatalf("the hour is %+v, want it to be rolled up again", s)
		}
	})
	t.Run("what_was_measured_stays", func(t *testing.T) {
		f := open(t)
		r := due(after(noon, -time.Hour))
		record(t, f, metric(func(m *exportops.Metric) { m.ExportID = r.ExportID }))
		expire(t, f, r)
		if all := outcomes(t, f); len(all) != 1 || *all[0].DurationMS != 2500 {
			t.Fatalf("it counts as %+v", all)
		}
	})
	t.Run("a_row_without_a_file_is_frozen_too", func(t *testing.T) {
		f := open(t)
		f.Insert(t, due(after(noon, -time.Hour)))
		page, _, err := f.Store.Candidates(t.Context(), claimAll.Selection, "", 9)
		must(t, err)
		_, fence := begin(t, f, exportops.Started)
		settleOne(t, f, fence, exportops.Settlement{Row: &page[0]})
		if c := counted(t, f, after(noon, -25*time.Hour)); len(c) != 1 || c[0].DurationMS == nil || *c[0].DurationMS != took.Milliseconds() {
			t.Fatalf("counted %+v", c)
		}
	})
}

func allOrNothing(t *testing.T, open func(testing.TB) Fixture) {
	for name, lose := range map[string]func(*testing.T, Fixture, exportops.Deletion){
		"a_claim_that_another_run_took": func(t *testing.T, f Fixture, d exportops.Deletion) {
			f.Exec(t, `UPDATE exportops_deletions SET run_id = 'another' WHERE id = ?`, d.ID)
		},
		"a_claim_of_another_holder": func(t *testing.T, f Fixture, d exportops.Deletion) {
			f.Exec(t, `UPDATE exportops_deletions SET token = token + 1 WHERE id = ?`, d.ID)
		},
		"a_claim_that_is_settled": func(t *testing.T, f Fixture, d exportops.Deletion) {
			f.Exec(t, `UPDATE exportops_deletions SET state = 'deleted' WHERE id = ?`, d.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			f.Insert(t, due(after(noon, -2*time.Hour)), due(after(noon, -time.Hour)))
			run, fence := begin(t, f, exportops.Started)
			page := claim(t, f, fence)
			lose(t, f, *page.Claims[1])
			want, run := ledger(t, f), runOf(t, f, run.ID)
			_, err := f.Store.Settle(t.Context(), check(fence, after(noon, time.Second)), []exportops.Settlement{
				{Claim: page.Claims[0], State: exportops.DeletionDone}, {Claim: page.Claims[1], State: exportops.DeletionDone},
			})
			wantFenced(t, "Settle", err)
			if d := cmp.Diff(want, ledger(t, f)); d != "" {
				t.Fatalf("the ledger was changed:\n%s", d)
			}
			if d := cmp.Diff(run, runOf(t, f, run.ID)); d != "" {
				t.Fatalf("the run was changed:\n%s", d)
			}
			if n := f.Count(t, `SELECT count(*) FROM {logs} WHERE status = 'completed'`); n != 2 || len(counted(t, f, after(noon, -26*time.Hour))) != 0 {
				t.Fatalf("%d rows are as they were, want both and nothing frozen", n)
			}
		})
	}
}
