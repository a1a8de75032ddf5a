package supabase

import (
	"context"
	"errors"
	"fmt"

	"github.com/exportops/exportops"
)

// Delete removes objects in bulk and answers for each in order. Guarded ones are
// looked at first. The error is set when the bucket cannot be seen or used, and
// when no answer could be had about any file; the removal may then have been
// carried out all the same. Where only some removals failed, their files are
// Unproven.
func (s *Store) Delete(ctx context.Context, refs []exportops.FileRef) ([]exportops.FileResult, error) {
	if err := checkBatch(len(refs)); err != nil {
		return nil, err
	}
	d := &deletion{Store: s, refs: refs, results: make([]exportops.FileResult, len(refs))}
	if err := d.run(ctx); err != nil {
		return nil, s.unusable("delete files", err)
	}
	return d.results, nil
}

// deletion is one call of Delete.
type deletion struct {
	*Store
	refs    []exportops.FileRef
	results []exportops.FileResult // decided where Removal is set
}

func (d *deletion) run(ctx context.Context) error {
	var guarded []int
	for i, ref := range d.refs {
		if err := d.checkKey(ref.Key); err != nil {
			d.results[i] = unproven(err)
		} else if ref.Guard != nil {
			guarded = append(guarded, i)
		}
	}
	if err := d.judge(ctx, guarded); err != nil {
		return err
	}
	var keys []string
	at := map[string][]int{} // the same key may be named twice
	for i, ref := range d.refs {
		if d.results[i].Removal != "" {
			continue
		}
		if at[ref.Key] == nil {
			keys = append(keys, ref.Key)
		}
		at[ref.Key] = append(at[ref.Key], i)
	}
	if len(keys) == 0 {
		return nil
	}
	r := d.removal()
	if err := r.remove(ctx, keys); err != nil {
		return err
	}
	outcomes, err := r.outcomes(ctx, keys)
	if err != nil {
		return err
	}
	for key, result := range outcomes {
		for n, i := range at[key] {
			if d.results[i] = result; n > 0 && result.Removal == exportops.Removed {
				d.results[i] = exportops.FileResult{Removal: exportops.Absent} // it was, by then
			}
		}
	}
	return nil
}

// judge looks at guarded files and decides those that are not to be removed.
func (d *deletion) judge(ctx context.Context, guarded []int) error {
	return d.lookAll(ctx, len(guarded), func(n int) string { return d.refs[guarded[n]].Key },
		func(n int, info exportops.FileInfo) {
			i := guarded[n]
			switch err := differs(info, d.refs[i].Guard); {
			case info.Err != nil:
				d.results[i] = unproven(info.Err)
			case !info.Exists:
				d.results[i] = exportops.FileResult{Removal: exportops.Absent}
			case err != nil:
				d.results[i] = exportops.FileResult{Removal: exportops.Replaced, Err: err}
			}
		})
}

// differs says in what a file is not the one that was claimed.
func differs(info exportops.FileInfo, g *exportops.FileGuard) error {
	switch {
	case g.Size != nil && *g.Size != info.Size:
		return fmt.Errorf("it has %d bytes and %d were claimed", info.Size, *g.Size)
	case !g.NotAfter.IsZero() && info.Modified.After(g.NotAfter.Time):
		return fmt.Errorf("it was written at %s, after %s", info.Modified, g.NotAfter)
	case g.Version != "" && g.Version != info.Version:
		return errors.New("it is another version than the one that was claimed")
	}
	return nil
}

func unproven(err error) exportops.FileResult {
	return exportops.FileResult{Removal: exportops.Unproven, Err: err}
}
