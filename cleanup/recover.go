package cleanup

import (
	"context"
	"fmt"

	"github.com/exportops/exportops"
)

// recover finishes the claims that dead runs left open. The row is looked at
// again, and the file must still be the one that was claimed: the application
// may have made the export again in between, under the same id and key.
func (r *fileRun) recover(ctx context.Context) (done bool, err error) {
	limit := r.pace.size
	for !r.ended(ctx, r.work) {
		n, err := r.recoverBatch(ctx, limit)
		if err != nil {
			return false, fmt.Errorf("recover what a dead run left: %w", err)
		}
		if n == 0 {
			r.turn()
			return true, nil
		}
	}
	return false, nil
}

func (r *fileRun) recoverBatch(ctx context.Context, limit int) (int, error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	cp, err := r.checkpoint(r.work, *r.res)
	if err != nil {
		return 0, err
	}
	open, resumed, err := r.Store.Reclaim(ctx, cp, limit, r.resume, r.only...)
	if err != nil {
		return 0, err
	}
	if err := r.recallClaims(ctx, open); err != nil {
		return 0, err
	}
	var claims []*exportops.Deletion
	for i := range open {
		d := &open[i].Deletion
		if was := r.recovered[d.ExportID]; was != nil && was.changed {
			r.res.Changed-- // it counts as what becomes of this claim
		}
		// A row that is due will be met again by the drain.
		due := open[i].Row != nil && r.plan.sel.Judge(*open[i].Row) == exportops.Due
		if open[i].Row != nil {
			r.noteAge(*open[i].Row, d.Mode)
		}
		r.recovered[d.ExportID] = &recovered{due: due, changed: !resumed[i]}
		switch {
		case !resumed[i]:
			r.res.Recovered++
			r.res.Changed++
		case d.Interrupted() > exportops.AloneAfter:
			r.alone = append(r.alone, d)
		default:
			claims = append(claims, d)
		}
	}
	return len(open), r.actGuarded(ctx, claims)
}

// turn lets those that are tried alone take turns in going first: what kills
// the process must not stay in front of the others.
func (r *fileRun) turn() {
	if len(r.alone) > 0 {
		n := r.alone[0].Attempts % len(r.alone)
		r.alone = append(r.alone[n:], r.alone[:n]...)
	}
}

// drainAlone tries the claims that may be what kills the process, one by one,
// when everything else is done. It reports whether it came to the end.
func (r *fileRun) drainAlone(ctx context.Context) (bool, error) {
	for len(r.alone) > 0 {
		if r.ended(ctx, r.work) {
			return false, nil
		}
		if err := r.tryAlone(ctx, r.alone[0]); err != nil {
			return false, err
		}
		r.alone = r.alone[1:]
	}
	return true, nil
}

// lostKey counts an export whose key another claim holds. Where that is one to
// be tried alone, the export's turn comes after it.
func (r *fileRun) lostKey(c exportops.Candidate, key string) {
	for _, d := range r.alone {
		if d.Key == key {
			r.behind = append(r.behind, postponed{exportID: c.ExportID, reason: becauseShared})
			return
		}
	}
	r.res.InFlight++
}

// drainBehind deals with the exports whose keys were held by claims that have
// been tried alone since.
func (r *fileRun) drainBehind(ctx context.Context) (bool, error) {
	r.postponed, r.behind = append(r.postponed, r.behind...), nil
	return r.drainPostponed(ctx)
}

func (r *fileRun) tryAlone(ctx context.Context, d *exportops.Deletion) error {
	ctx, cancel := finishing(ctx)
	defer cancel()
	return r.actGuarded(ctx, []*exportops.Deletion{d})
}

// actGuarded deletes files whose claim is not of this moment, those aside that
// another row has come to name.
func (r *fileRun) actGuarded(ctx context.Context, claims []*exportops.Deletion) error {
	if len(claims) == 0 {
		return nil
	}
	free, kept, err := r.lookAgain(ctx, claims)
	if err != nil {
		return fmt.Errorf("look for shared files: %w", err)
	}
	guards := make([]*exportops.FileGuard, len(free))
	for i, d := range free {
		guards[i] = &exportops.FileGuard{Size: d.FileSize, NotAfter: d.ClaimedAt}
	}
	r.begin(ctx, func() {}, free, guards, kept)
	return r.finish()
}

// lookAgain parts claims from those whose files must stay, with the reason as
// their outcome.
func (r *fileRun) lookAgain(ctx context.Context, claims []*exportops.Deletion) (
	free []*exportops.Deletion, kept []exportops.Settlement, err error,
) {
	part := make([]postponed, len(claims))
	for i, d := range claims {
		part[i].exportID = d.ExportID
	}
	l, err := newLook(ctx, r.Store, r.Files, r.plan, part, exportops.At(r.Now()))
	if err != nil {
		return nil, nil, err
	}
	_, watch := l.names(part)
	others, err := r.Store.CandidatesByID(ctx, watch)
	if err != nil {
		return nil, nil, err
	}
	byID := byExport(others)
	for _, d := range claims {
		c := exportops.Candidate{ExportID: d.ExportID, UserID: d.UserID}
		claim := exportops.Decision{Verdict: exportops.Claim, Location: exportops.Location{Bucket: d.Bucket, Key: d.Key}}
		if l.decideShared(c, claim, byID).Verdict == exportops.Claim {
			free = append(free, d)
			continue
		}
		kept = append(kept, exportops.Settlement{
			Claim: d, State: exportops.DeletionChanged,
			Error: "another row has come to name the file; it was left alone",
		})
	}
	return free, kept, nil
}

// resume reports whether an open claim may still be carried out.
func (r *fileRun) resume(o exportops.OpenClaim) bool {
	if o.Store != r.Files.ID() || o.Row == nil {
		return false
	}
	if o.Row.Status != o.RowStatus || o.Row.UserID != o.UserID || !same(o.Row.FileURL, o.FileURL) ||
		!same(o.Row.ExpiresAt, o.ExpiresAt) || !same(o.Row.FileSize, o.FileSize) {
		return false
	}
	if e, ok := r.plan.listed[o.ExportID]; r.plan.listed != nil && (!ok || !e.same(*o.Row) || e.Key != o.Key) {
		return false
	}
	// The location is resolved again: the settings may have changed since.
	at := r.plan.locator.Resolve(o.Row.FileURL, o.Row.UserID)
	return at.Refused == "" && !at.NoFile && at.Key == o.Key
}

func same[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
