package archive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/exportops/exportops"
)

// Fault is what is wrong with one archive.
type Fault struct {
	ID    int64  `json:"id"`
	Key   string `json:"key"`
	Fault string `json:"fault"`
}

// Audit is what a look at all archives found.
type Audit struct {
	Archives int64   `json:"archives"` // that rows may have been deleted because of
	Checked  int64   `json:"checked"`  // of them
	Rows     int64   `json:"rows"`     // in those that are as they were written
	Bytes    int64   `json:"bytes"`
	Faults   []Fault `json:"faults"`
	// Unrecorded are objects that no record knows, the first hundred of them.
	Unrecorded      []string `json:"unrecorded"`
	UnrecordedTotal int64    `json:"unrecorded_total"`
}

// Audit reads archives back, all of them or a random sample, of which those are part
// that a verification found a fault in before. It changes no archive, and keeps with
// the record of each what it found.
func (k *Keeper) Audit(ctx context.Context, sample int) (Audit, error) {
	out := Audit{Faults: []Fault{}, Unrecorded: []string{}}
	recorded := map[string]bool{}
	var ids, faulty []int64
	err := k.all(ctx, func(a exportops.Archive) error {
		// Of one that is removed nothing should be there, and of one that is lost its manifest.
		if name, err := ParseKey(a.Key); err == nil && a.Store == k.Objects.ID() {
			recorded[name.Key()] = !a.State.Gone()
			recorded[name.ManifestKey()] = a.State != exportops.ArchiveRemoved
		}
		switch {
		case a.State.Trusted() && a.Error != "":
			faulty = append(faulty, a.ID)
		case a.State.Trusted():
			ids = append(ids, a.ID)
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	out.Archives = int64(len(ids) + len(faulty))
	if sample > 0 && sample < len(ids)+len(faulty) {
		rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] }) //nolint:gosec // nobody gains by guessing it
		ids = ids[:min(max(sample-len(faulty), 0), len(ids))]
	}
	ids = append(ids, faulty...)
	slices.Sort(ids)
	for _, id := range ids {
		if err := k.auditOne(ctx, id, &out); err != nil {
			return out, err
		}
	}
	for object, err := range k.Objects.List(ctx, Folder) {
		if err != nil {
			return out, fmt.Errorf("list the archives: %w", err)
		}
		if recorded[object.Key] {
			continue
		}
		if out.UnrecordedTotal++; len(out.Unrecorded) < exportops.MaxErrors {
			out.Unrecorded = append(out.Unrecorded, object.Key)
		}
	}
	return out, nil
}

// auditOne counts one archive. What cannot be read now is a fault as well: the others
// are looked at all the same.
func (k *Keeper) auditOne(ctx context.Context, id int64, out *Audit) error {
	a, err := k.Store.Archive(ctx, id)
	if err != nil {
		return err
	}
	fault := ""
	if a.State.Trusted() {
		if fault, err = k.Check(ctx, a); ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		if err != nil {
			fault = err.Error()
		}
		if err := k.mark(ctx, a, fault); err != nil {
			return err
		}
		if fault != "" {
			if a, err = k.Store.Archive(ctx, id); err != nil {
				return err
			}
		}
	}
	if !a.State.Trusted() { // it was replaced since it was listed
		out.Archives--
		return nil
	}
	out.Checked++
	if fault != "" {
		out.Faults = append(out.Faults, Fault{a.ID, a.Key, fault})
		return nil
	}
	out.Rows += a.Rows
	out.Bytes += a.Bytes
	return nil
}

// Verify is Check of an archive that is trusted, and keeps with its record what it
// found.
func (k *Keeper) Verify(ctx context.Context, a exportops.Archive) (fault string, err error) {
	fault, err = k.Check(ctx, a)
	found := fault
	if err != nil {
		found = err.Error()
	}
	if ctx.Err() != nil { // it was not looked at to the end
		return fault, err
	}
	return fault, errors.Join(err, k.mark(ctx, a, found))
}

// mark keeps what was found of an archive, where that is news.
func (k *Keeper) mark(ctx context.Context, a exportops.Archive, fault string) error {
	if fault == a.Error {
		return nil
	}
	return k.Store.MarkArchive(ctx, a.ID, fault)
}

// all calls fn for every archive, newest first.
func (k *Keeper) all(ctx context.Context, fn func(exportops.Archive) error) error {
	f := exportops.ArchiveFilter{Limit: exportops.MaxPage}
	for {
		page, err := k.Store.Archives(ctx, f)
		if err != nil {
			return err
		}
		for _, a := range page {
			if err := fn(a); err != nil {
				return err
			}
			f.Before = a.ID
		}
		if len(page) < f.Limit {
			return nil
		}
	}
}
