package cleanup

import (
	"context"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// unknownJudge decides about files that no row named when they were recorded. A
// dry run and a real one share it.
type unknownJudge struct {
	locator exportops.Locator
	known   *knownKeys
	// restored says that the database was restored from a backup, with its records of
	// unknown files: a row that is lost may have come to name one since.
	restored bool
}

func newUnknownJudge(ctx context.Context, r Reader, l exportops.Locator, store string, now, backup exportops.Time) (*unknownJudge, error) {
	claimed, err := openClaims(ctx, r, store)
	if err != nil {
		return nil, reading(ctx, "read open claims", err)
	}
	known, err := readKnownKeys(ctx, r, l, claimed, now)
	return &unknownJudge{l, known, !backup.IsZero()}, reading(ctx, "read which files rows name", err)
}

// kept says why a file may not be deleted, as far as that can be told from its key
// and the rows.
func (j *unknownJudge) kept(u exportops.UnknownFile) exportops.UnknownKept {
	_, err := j.locator.At(u.Key)
	switch {
	case err != nil:
		return exportops.UnknownOutside
	case u.MayBeArchive():
		return exportops.UnknownArchive
	case j.known.has(u.Key):
		return exportops.UnknownNamed
	case j.known.unclear(u.Key):
		return exportops.UnknownUnclear
	case j.restored:
		return exportops.UnknownUngraced
	}
	return ""
}

// CleanUnknown finds which quarantined files may be deleted, and tells Plan of
// each. Nothing is deleted without that plan.
func (d DryRun) CleanUnknown(ctx context.Context) (res exportops.UnknownCleanupResult, err error) {
	res.DryRun = true
	defer res.SumUp()
	now := exportops.At(d.Now())
	sel := exportops.Selection{Mode: exportops.ByExpiry, Now: now}
	if err := checkRoot(ctx, d.Store, d.Files, d.Locator, sel); err != nil {
		return res, err
	}
	judge, err := newUnknownJudge(ctx, d.Store, d.Locator, d.Files.ID(), now, d.RestoredFrom)
	if err != nil {
		return res, err
	}
	f := exportops.UnknownFilter{Store: d.Files.ID(), State: exportops.UnknownQuarantined, Limit: exportops.MaxPage}
	for {
		page, err := d.Store.UnknownFiles(ctx, f)
		if err != nil {
			return res, fmt.Errorf("read unknown files: %w", err)
		}
		for _, u := range page {
			f.After = u.Key
			kept := judge.kept(u)
			if kept == "" {
				res.WouldDelete++
			} else {
				res.Keep(kept)
			}
			if d.Plan != nil {
				d.Plan.entry(entryOf(u, kept))
			}
		}
		if len(page) < f.Limit || d.ended() {
			res.Complete = len(page) < f.Limit
			return res, nil
		}
	}
}

// unknownRun deletes the files that a plan lists.
type unknownRun struct {
	*Cleaner
	work  Work
	from  *Plan
	res   *exportops.UnknownCleanupResult
	judge *unknownJudge
	pace  pace
	// tried are keys whose claims this run recovered, and counted.
	tried   map[string]bool
	reached int64 // entries that came to their turn
}

// CleanUnknown deletes the files that a plan lists, of those that still are
// quarantined, and as recorded, and that no row names. It begins with the claims
// of dead runs. It adds to res, which may hold what an earlier holder of the run
// did; the error is for what stopped the whole.
func (c *Cleaner) CleanUnknown(ctx context.Context, w Work, p *Plan, res *exportops.UnknownCleanupResult) error {
	defer res.SumUp()
	r := &unknownRun{
		Cleaner: c, work: w, from: p, res: res, tried: map[string]bool{}, pace: c.filePace(),
	}
	res.Complete, res.Plan = false, p.SHA256
	done, err := r.run(ctx)
	stopped := err != nil && ctx.Err() != nil
	if err != nil && !stopped {
		return err
	}
	if res.Complete = err == nil && done; !res.Complete {
		res.Remaining = max(0, p.Totals.Due()-r.reached)
	}
	return nil
}

func (r *unknownRun) run(ctx context.Context) (done bool, err error) {
	now := exportops.At(r.Now())
	sel := exportops.Selection{Mode: exportops.ByExpiry, Now: now}
	if err := checkRoot(ctx, r.Store, r.Files, r.Locator, sel); err != nil {
		return false, reading(ctx, "", err)
	}
	if done, err := r.recover(ctx); err != nil || !done {
		return false, err
	}
	if r.judge, err = newUnknownJudge(ctx, r.Store, r.Locator, r.Files.ID(), now, r.RestoredFrom); err != nil {
		return false, err
	}
	batch := make([]UnknownEntry, 0, r.pace.most)
	for e, err := range r.from.UnknownEntries() {
		if err != nil {
			return false, err
		}
		if e.Do != PlanDelete {
			continue
		}
		if batch = append(batch, e); len(batch) < r.pace.size {
			continue
		}
		if done, err := r.batch(ctx, batch); err != nil || !done {
			return false, err
		}
		batch = batch[:0]
	}
	return r.batch(ctx, batch)
}

// batch claims, looks once more at all rows, and deletes.
func (r *unknownRun) batch(ctx context.Context, batch []UnknownEntry) (bool, error) {
	if len(batch) == 0 {
		return true, nil
	}
	if r.ended(ctx, r.work) {
		return false, nil
	}
	if err := r.judge.known.topUp(ctx, r.Store, exportops.At(r.Now())); err != nil {
		return false, reading(ctx, "read which files rows name", err)
	}
	r.reached += int64(len(batch))
	var files []exportops.UnknownFile
	seen := make(map[string]bool, len(batch))
	for _, e := range batch {
		u := e.file(r.Files.ID())
		switch kept := r.judge.kept(u); {
		case seen[e.Key]: // no plan of ours lists a file twice
		case r.tried[e.Key]: // counted when its claim was recovered
		case kept != "":
			r.res.Keep(kept)
		default:
			files = append(files, u)
		}
		seen[e.Key] = true
	}
	return true, r.claim(ctx, files)
}

func (r *unknownRun) claim(ctx context.Context, files []exportops.UnknownFile) error {
	if len(files) == 0 {
		return nil
	}
	at, err := r.Locator.At(files[0].Key)
	if err != nil {
		return err
	}
	// From here the batch is finished whatever happens to ctx.
	ctx, cancel := finishing(ctx)
	defer cancel()
	cp, err := r.checkpoint(r.work, *r.res)
	if err != nil {
		return err
	}
	began := time.Now()
	claims, err := r.Store.ClaimUnknown(ctx, cp, at.Bucket, files)
	if err != nil {
		return fmt.Errorf("claim files: %w", err)
	}
	r.pace.took(time.Since(began))
	var ours []claimedFile
	for i, c := range claims {
		if c.Claim == nil {
			r.res.Keep(c.Kept)
			continue
		}
		ours = append(ours, claimedFile{c.Claim, files[i]})
	}
	return r.deleteUnnamed(ctx, ours)
}

// claimedFile is a claim, and the file as it must still be.
type claimedFile struct {
	claim *exportops.Deletion
	file  exportops.UnknownFile
}

// deleteUnnamed deletes claimed files, those aside that a row names or that are
// not what was listed, and records what became of each.
//
// Rows are looked at after the claim, all of them: one that was there before may
// have come to name the file only now, and no timestamp would tell.
func (r *unknownRun) deleteUnnamed(ctx context.Context, claimed []claimedFile) error {
	if len(claimed) == 0 {
		r.work.report(*r.res)
		return nil
	}
	counted := *r.res
	kept, err := r.keptNow(ctx, claimed)
	if err != nil {
		return err
	}
	var batch []exportops.Settlement
	var going []*exportops.Deletion
	var refs []exportops.FileRef
	for i, c := range claimed {
		if kept[i] != "" {
			counted.Keep(kept[i])
			batch = append(batch, exportops.Settlement{Claim: c.claim, State: exportops.DeletionChanged, Error: leftAlone(kept[i])})
			continue
		}
		size := c.file.Size
		going = append(going, c.claim)
		refs = append(refs, exportops.FileRef{
			Key: c.file.Key, Guard: &exportops.FileGuard{Size: &size, NotAfter: c.file.Modified, Version: c.file.Version},
		})
	}
	if len(refs) > 0 {
		results, err := r.Files.Delete(ctx, refs)
		if err != nil {
			return fmt.Errorf("delete files: %w", err)
		}
		if len(results) != len(refs) {
			return fmt.Errorf("delete files: %s answered for %d of %d files", r.Files.ID(), len(results), len(refs))
		}
		for i, d := range going {
			batch = append(batch, settlementOf(d, results[i]))
			countUnknown(&counted, batch[len(batch)-1])
		}
	}
	return r.settle(ctx, batch, counted)
}

func countUnknown(res *exportops.UnknownCleanupResult, s exportops.Settlement) {
	switch s.State {
	case exportops.DeletionDone:
		res.DeletedCount++
		res.BytesFreed += s.Bytes
	case exportops.DeletionAbsent:
		res.AlreadyAbsent++
	case exportops.DeletionChanged:
		res.Changed++
	default:
		res.Fail(s.Claim.Key, s.Error)
	}
}

func (r *unknownRun) settle(ctx context.Context, batch []exportops.Settlement, counted exportops.UnknownCleanupResult) error {
	cp, err := r.checkpoint(r.work, counted)
	if err != nil {
		return err
	}
	if _, err := r.Store.Settle(ctx, cp, batch); err != nil {
		return fmt.Errorf("record outcomes: %w", err)
	}
	*r.res = counted
	r.work.report(*r.res)
	return nil
}

func leftAlone(why exportops.UnknownKept) string {
	switch why {
	case exportops.UnknownNamed:
		return "a row has come to name the file; it was left alone"
	case exportops.UnknownUnclear:
		return "a row that cannot be read may mean the file; it was left alone"
	}
	return "the file is not the one that was listed; it was left alone"
}

// keptNow looks at all rows and at the files themselves.
func (r *unknownRun) keptNow(ctx context.Context, claimed []claimedFile) ([]exportops.UnknownKept, error) {
	keys := make([]string, len(claimed))
	for i, c := range claimed {
		keys[i] = c.file.Key
	}
	kept, err := namedNow(ctx, r.Store, r.Locator, keys)
	if err != nil {
		return nil, fmt.Errorf("read which files rows name: %w", err)
	}
	infos, err := r.Files.Stat(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("look at files: %w", err)
	}
	for i, info := range infos {
		if kept[i] == "" && info.Err == nil && info.Exists && !sameFile(info, claimed[i].file) {
			kept[i] = exportops.UnknownChanged
		}
	}
	return kept, nil
}

// sameFile compares a file with its record. Some stores tell the time to the second
// when they are asked about one file, and to the millisecond in lists.
func sameFile(info exportops.FileInfo, u exportops.UnknownFile) bool {
	second := func(t exportops.Time) int64 { return t.Unix() }
	return info.Size == u.Size && second(info.Modified) == second(u.Modified) &&
		(u.Version == "" || info.Version == "" || info.Version == u.Version)
}
