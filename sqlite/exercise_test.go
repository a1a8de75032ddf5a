package sqlite

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/storetest"
)

var planNow = exportops.At(time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC))

// exercise calls everything that reads or writes the tables that grow, and says
// under which name before each call.
func exercise(t *testing.T, s *Store, name func(string)) {
	ctx, now := t.Context(), planNow
	no := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	user, text := exportops.NewID(), func(s string) *string { return &s }
	ago := func(d time.Duration) exportops.Time { return exportops.At(now.Add(-d)) }
	for i := range 24 {
		e := exportops.Export{
			ExportID: exportops.NewID(), UserID: user, Timestamp: ago(time.Duration(i+100) * time.Hour), Format: exportops.CSV,
			Config: []byte(`{}`), Status: exportops.Statuses[i%5], FileURL: text("a/b"),
		}
		expires := ago(time.Hour)
		if e.ExpiresAt = &expires; i%10 == 2 {
			e.FileURL = nil
		}
		_, err := s.CreateExport(ctx, e)
		no(err)
	}
	begin := func(job exportops.Job, key string, slot *exportops.Time, now exportops.Time, params string) exportops.Fence {
		_, fence, _, err := s.BeginRun(ctx, exportops.RunRequest{
			Job: job, Lane: string(job), Params: []byte(params), Slot: slot, IdempotencyKey: key, Now: now, Lease: time.Minute,
		})
		no(err)
		return fence
	}
	name("BeginRun")
	slot := ago(time.Hour)
	begin(exportops.LogCleanup, "k", &slot, now, `{}`)
	begin(exportops.LogCleanup, "k", &slot, ago(-2*time.Minute), `{}`)
	begin(exportops.LogCleanup, "l", nil, ago(-4*time.Minute), `{"a":1}`)
	fence := begin(exportops.FileCleanup, "", nil, now, `{}`)
	c := exportops.Checkpoint{Fence: fence, Now: now, Lease: time.Minute, Progress: []byte(`{}`)}

	for _, sel := range []exportops.Selection{
		{Mode: exportops.ByExpiry, Now: now},
		{Mode: exportops.ByAge, Cut: now},
		{Mode: exportops.ByLogCleanup, Cut: now},
		{Mode: exportops.ByErasure, UserID: user},
		{Mode: exportops.ByPolicy},
	} {
		var after exportops.Cursor
		for _, page := range []string{" first page", " next page"} {
			name("Candidates " + string(sel.Mode) + page)
			_, next, err := s.Candidates(ctx, sel, after, 2)
			no(err)
			if after == "" {
				name("CountCandidatesUpTo " + string(sel.Mode))
				_, err = s.CountCandidatesUpTo(ctx, sel, 2)
				no(err)
			}
			name("CountCandidates " + string(sel.Mode) + page)
			_, err = s.CountCandidates(ctx, sel, after)
			no(err)
			after = next
		}
	}
	claims := exportops.ClaimRequest{
		Selection: exportops.Selection{Mode: exportops.ByExpiry, Now: now}, Store: "s", Limit: 100, Watch: []string{user},
		Decide: func(page, _ []exportops.Candidate) []exportops.Decision {
			out := make([]exportops.Decision, len(page))
			for i, c := range page {
				out[i] = exportops.Decision{Verdict: exportops.Claim, Location: exportops.Location{Bucket: "b", Key: c.ExportID}}
			}
			return out
		},
	}
	name("ClaimFiles")
	page, err := s.ClaimFiles(ctx, c, claims)
	no(err)
	name("CandidatesByID")
	ids := []string{page.Claims[0].ExportID, page.Claims[1].ExportID}
	_, err = s.CandidatesByID(ctx, ids)
	no(err)
	name("Settle")
	_, err = s.Settle(ctx, c, []exportops.Settlement{{Claim: page.Claims[0], State: exportops.DeletionDone}, {Claim: page.Claims[1], State: exportops.DeletionFailed}})
	no(err)
	name("ClaimFiles by id")
	claims.ExportIDs = ids
	again, err := s.ClaimFiles(ctx, c, claims)
	no(err)
	name("")
	claims.ExportIDs, claims.Limit = nil, 3
	fresh, err := s.ClaimFiles(ctx, c, claims)
	no(err)
	name("Unclaim")
	no(s.Unclaim(ctx, c, again))
	no(s.Unclaim(ctx, c, fresh))
	name("")
	claims.ExportIDs = ids
	_, err = s.ClaimFiles(ctx, c, claims)
	no(err)
	name("Reclaim")
	c.Fence = begin(exportops.FileCleanup, "", nil, ago(-2*time.Minute), `{}`)
	c.Now = ago(-2 * time.Minute)
	n := 0
	_, _, err = s.Reclaim(ctx, c, 9, func(exportops.OpenClaim) bool { n++; return n%2 == 0 })
	no(err)
	name("Reclaim by id")
	_, _, err = s.Reclaim(ctx, c, 9, func(exportops.OpenClaim) bool { return false }, ids...)
	no(err)
	name("KeyRows")
	for _, err := range s.KeyRows(ctx, exportops.Time{}) {
		no(err)
	}
	name("KeyRows since")
	for _, err := range s.KeyRows(ctx, ago(time.Hour)) {
		no(err)
	}
	name("NamedFiles")
	for _, err := range s.NamedFiles(ctx, exportops.Time{}) {
		no(err)
	}
	name("NamedFiles since")
	for _, err := range s.NamedFiles(ctx, ago(time.Hour)) {
		no(err)
	}
	name("RecordUnknown")
	no(s.RecordUnknown(ctx, c, []exportops.UnknownFile{{Store: "s", Key: "k", State: exportops.UnknownSeen, FirstSeen: now, LastSeen: now}}))
	for what, f := range map[string]exportops.UnknownFilter{
		" by key": {Keys: []string{"k", "l"}}, " between": {After: "a", To: "z", SeenBefore: now, State: exportops.UnknownSeen},
	} {
		name("UnknownFiles" + what)
		f.Store = "s"
		_, err = s.UnknownFiles(ctx, f)
		no(err)
	}
	name("RecordMissing")
	no(s.RecordMissing(ctx, c, []exportops.MissingFile{{ExportID: ids[0], Store: "s", Key: "k", FirstSeen: now, LastSeen: now}}))
	name("MissingFiles")
	_, err = s.MissingFiles(ctx, exportops.MissingFilter{SeenBefore: now})
	no(err)
	name("MissingFiles by id")
	_, err = s.MissingFiles(ctx, exportops.MissingFilter{ExportIDs: ids})
	no(err)
	name("StuckExports")
	stuck, _, err := s.StuckExports(ctx, now, "", 2)
	no(err)
	name("FailStuck")
	_, err = s.FailStuck(ctx, c, stuck, "Stuck: x", nil)
	no(err)
	storetest.ExerciseUnknown(t, s, c, name)
	name("ChangeExpiry")
	soon, was := ago(-time.Hour), now.String()
	_, err = s.ChangeExpiry(ctx, c, []exportops.ExpiryChange{{ExportID: ids[0], From: &was, To: &soon}},
		func([]exportops.ExpiryKept) (json.RawMessage, error) { return nil, nil })
	no(err)
	name("ForgetMissing")
	no(s.ForgetMissing(ctx, c, ids))
	name("ForgetUnknown")
	_, err = s.ForgetUnknown(ctx, c, now, 10)
	no(err)
	for what, f := range map[string]exportops.DeletionFilter{
		"": {}, " of an export": {ExportID: ids[0]}, " of a run": {RunID: fence.RunID}, " open": {State: exportops.DeletionClaimed},
		" open before": {State: exportops.DeletionClaimed, Before: 5}, " deleted": {State: exportops.DeletionDone},
		" failed": {State: exportops.DeletionFailed}, " quarantined": {State: exportops.DeletionQuarantined},
		" of an export and run": {ExportID: ids[0], RunID: fence.RunID}, " by id": {ID: 2}, " between": {From: ago(time.Hour), To: now},
	} {
		name("Deletions" + what)
		_, err := s.Deletions(ctx, f)
		no(err)
	}
	name("DeletionsOf")
	_, err = s.DeletionsOf(ctx, ids)
	no(err)
	name("RetryDeletions")
	_, err = s.RetryDeletions(ctx, []int64{1, 2}, "me", now)
	no(err)
	name("ChainDeletions")
	_, _, err = s.ChainDeletions(ctx, c, 0, 100)
	no(err)
	name("ChainDays")
	days, err := s.ChainDays(ctx)
	no(err)
	name("ChainLinks")
	for _, err := range s.ChainLinks(ctx, days[0].Day) {
		no(err)
	}
	name("Unchained")
	_, err = s.Unchained(ctx)
	no(err)
	name("ForgetDeletions")
	_, _, err = s.ForgetDeletions(ctx, c, now, 100)
	no(err)
	for what, sel := range map[string]exportops.LogSelection{"age": {Cut: now}, "user": {UserID: user}, "user and age": {UserID: user, Cut: now}} {
		var after exportops.Cursor
		for _, page := range []string{" first page", " next page"} {
			name("LogRows " + what + page)
			_, next, err := s.LogRows(ctx, sel, after, 2)
			no(err)
			if after == "" {
				name("CountLogRowsUpTo " + what)
				_, err = s.CountLogRowsUpTo(ctx, sel, 2)
				no(err)
			}
			name("CountLogRows " + what + page)
			_, err = s.CountLogRows(ctx, sel, after)
			no(err)
			after = next
		}
		name("DeleteLogRows " + what)
		page, _, err := s.LogRows(ctx, sel, "", 2)
		no(err)
		_, err = s.DeleteLogRows(ctx, c, page, nil)
		no(err)
	}
	name("Traces")
	found, _, err := s.Traces(ctx, user, nil, "", 100)
	no(err)
	name("EraseTraces")
	for _, kind := range []exportops.TraceKind{
		exportops.TraceCounter, exportops.TraceMetric, exportops.TraceEntry, exportops.TraceRun, exportops.TraceWorker, exportops.TraceCall,
		exportops.TraceFile, exportops.TraceMissing, exportops.TraceHold, exportops.TraceExport, exportops.TraceHelped,
		exportops.TraceTold, exportops.TraceText, exportops.TraceError, exportops.TraceSilence,
		exportops.TraceHeld, exportops.TraceRetried, exportops.TraceIncident, exportops.TraceEvent, exportops.TraceNotice,
	} {
		found = append(found, exportops.Trace{Kind: kind, Key: traceKeys[kind]})
	}
	_, err = s.EraseTraces(ctx, c, user, found, nil)
	no(err)
	name("UserLeft")
	_, err = s.UserLeft(ctx, user)
	no(err)
	name("UserHash")
	_, err = s.UserHash(ctx, user)
	no(err)
	name("RecordErasure")
	no(s.RecordErasure(ctx, c, user, exportops.Erasure{ID: exportops.NewID(), FinishedAt: now}))
	name("Erasures")
	_, _, err = s.Erasures(ctx, "", 2)
	no(err)
	name("Scrub")
	no(s.Scrub(ctx))
	storetest.ExerciseArchives(t, s, c, name)
	storetest.ExerciseHolds(t, s, c, name)
	storetest.ExerciseAlerts(t, s, c, name)
	name("LogStatistics")
	_, err = s.LogStatistics(ctx, now)
	no(err)
	span := exportops.Span{From: ago(200 * time.Hour), To: now}
	name("Outcomes")
	for _, err := range s.Outcomes(ctx, span) {
		no(err)
	}
	name("InProgress")
	for _, err := range s.InProgress(ctx, span) {
		no(err)
	}
	name("Renew")
	no(s.Renew(ctx, c))
	name("JoinRun")
	worker, err := s.JoinRun(ctx, fence.RunID, "w", now, time.Hour)
	no(err)
	name("LeaveRun")
	no(s.LeaveRun(ctx, exportops.Checkpoint{Fence: worker, Now: now, Lease: time.Hour}))
	name("CloseRun")
	_, err = s.CloseRun(ctx, c)
	no(err)
	name("CancelRun")
	_, err = s.CancelRun(ctx, c.RunID, "me", now)
	no(err)
	name("FinishRun")
	run, err := s.FinishRun(ctx, c, exportops.RunDone, "")
	no(err)
	name("Run")
	_, err = s.Run(ctx, run.ID)
	no(err)
	for what, f := range map[string]exportops.RunFilter{"": {}, " of a job": {Job: exportops.FileCleanup}, " active": {State: exportops.RunRunning}, " failed": {State: exportops.RunFailed, Cursor: "9"}} {
		name("Runs" + what)
		_, _, err := s.Runs(ctx, f)
		no(err)
	}
	name("Schedule")
	_, err = s.Schedule(ctx, exportops.FileCleanup, "0 2 * * *", now)
	no(err)
	name("FinishedRuns")
	_, err = s.FinishedRuns(ctx, exportops.FileCleanup, 2)
	no(err)
	name("Clock")
	_, err = s.Clock(ctx, fence.RunID)
	no(err)
	name("EndsSince")
	_, err = s.EndsSince(ctx, exportops.FileCleanup, slot)
	no(err)
	name("LastRun")
	_, err = s.LastRun(ctx, exportops.FileCleanup, "file-cleanup")
	no(err)
	name("RecordSlots")
	no(s.RecordSlots(ctx, exportops.FileCleanup, []exportops.Time{slot}, exportops.RunMissed, now))
	name("ActiveRuns")
	active, err := s.ActiveRuns(ctx)
	no(err)
	name("EndAbandoned")
	no(s.EndAbandoned(ctx, active[0].ID, ago(-time.Hour)))
}

// traceKeys are keys of traces that nothing has.
var traceKeys = map[exportops.TraceKind]string{
	exportops.TraceCounter: "2001-02-03T04:00:00.000Z", exportops.TraceMetric: "0", exportops.TraceEntry: "0",
	exportops.TraceMissing: "00000000-0000-0000-0000-000000000000", exportops.TraceHold: "0",
}
