package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/exportops/exportops"
)

// Register records archives that lie in the storage and that no record knows: a
// database that was restored from a backup knows nothing of those that were written
// since. Each is read, and its manifest must describe it. It is recorded as one whose
// rows are still to be deleted, because rows of it may have come back with the backup:
// the next log cleanup deletes those that are the same, instead of archiving them a
// second time. One that was recorded as lying in another storage, from which it was
// copied, is recorded as lying here; one that was lost is an archive again.
//
// What cannot be registered is left as it is, with the reason in res; so is told what
// holds rows of users who were erased since, which nobody is given. It goes on until
// stop says so; without next nothing is recorded.
func (k *Keeper) Register(ctx context.Context, next Checkpoints, stop func() bool, res *exportops.RegisterResult) error {
	res.Complete = false
	objects, err := k.unrecorded(ctx)
	if err != nil {
		return err
	}
	taken, err := k.takenRows(ctx)
	if err != nil {
		return err
	}
	res.Found += int64(len(objects))
	for _, o := range objects {
		if stop() {
			return nil
		}
		why, err := k.registerOne(ctx, next, o, taken, res)
		for errors.Is(err, exportops.ErrEpoch) { // a user was erased meanwhile
			why, err = k.registerOne(ctx, next, o, taken, res)
		}
		if err != nil {
			return fmt.Errorf("register archive %s: %w", o.Key, err)
		}
		if why != "" {
			res.Leave(o.Key, why)
		}
	}
	res.Complete = true
	return nil
}

// Unrecorded returns the keys of archives that lie in the storage and that no record
// knows.
func (k *Keeper) Unrecorded(ctx context.Context) (keys []string, err error) {
	objects, err := k.unrecorded(ctx)
	for _, o := range objects {
		keys = append(keys, o.Key)
	}
	return keys, err
}

// unknown is an object that no record knows, beside what was recorded of its name.
type unknown struct {
	exportops.Object
	was *exportops.Archive
}

// unrecorded lists the archives without a record. An archive is recorded before it is
// written, so the records are read last.
func (k *Keeper) unrecorded(ctx context.Context) ([]unknown, error) {
	var all []unknown
	for o, err := range k.Objects.List(ctx, Folder) {
		if err != nil {
			return nil, fmt.Errorf("list the archives: %w", err)
		}
		if name, err := ParseKey(o.Key); err == nil && name.Key() == o.Key {
			all = append(all, unknown{Object: o})
		}
	}
	recorded := map[string]*exportops.Archive{}
	err := k.all(ctx, func(a exportops.Archive) error {
		if a.Store == k.Objects.ID() || recorded[a.Key] == nil {
			recorded[a.Key] = &a
		}
		return nil
	})
	var out []unknown
	for _, o := range all {
		if o.was = recorded[o.Key]; o.was == nil || o.was.State.Gone() || o.was.Store != k.Objects.ID() {
			out = append(out, o)
		}
	}
	return out, err
}

// takenRows returns the rows that archives hold which are not finished.
func (k *Keeper) takenRows(ctx context.Context) (map[string]bool, error) {
	taken := map[string]bool{}
	err := k.all(ctx, func(a exportops.Archive) error {
		if a.State.Finished() {
			return nil
		}
		const most = 1000
		for from := int64(0); ; {
			page, err := k.Store.ArchiveMembers(ctx, a.ID, from, most)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				return nil
			}
			for _, m := range page {
				taken[m.RowID], from = true, m.Position+1
			}
		}
	})
	return taken, err
}

// registerOne registers one archive, or says why not.
func (k *Keeper) registerOne(ctx context.Context, next Checkpoints, o unknown, taken map[string]bool,
	res *exportops.RegisterResult,
) (why string, err error) {
	epoch, err := k.Store.ArchiveEpoch(ctx)
	if err != nil {
		return "", err
	}
	file, err := newSpool(k.Dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.close()) }()
	size, sum, err := fetch(ctx, k.Objects, o.Key, file, o.Size)
	switch {
	case exportops.IsKind(err, exportops.KindNotFound):
		return "it is not there any more", nil
	case err != nil:
		return "", err
	case size != o.Size:
		return fmt.Sprintf("it has another size than the %d bytes that are listed", o.Size), nil
	}
	s, members, err := contents(file, size, sum)
	if errors.Is(err, ErrCorrupt) {
		return err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	name, err := ParseKey(o.Key)
	if err != nil {
		return "", err
	}
	a := k.describe(name.Start(), s)
	a.Key, a.Sequence = name.Key(), name.Sequence
	if why, err := k.manifest(ctx, a, s, false); why != "" || err != nil {
		return why, err
	}
	if o.was != nil {
		if err := o.was.MayBecomeAgain(a); err != nil {
			return err.Error(), nil
		}
	}
	moved := o.was != nil && o.was.State != exportops.ArchiveLost // with what is known of its rows
	for _, m := range members {
		if taken[m.RowID] && !moved {
			return "another archive, which is not finished, holds rows of it: run log-cleanup, and then this again", nil
		}
	}
	present, err := k.present(ctx, members)
	if err != nil {
		return "", err
	}
	erased, err := k.erasedIn(ctx, file, size)
	if err != nil {
		return "", err
	}
	if next != nil {
		cp, err := next()
		if err == nil {
			_, err = k.Store.RegisterArchive(ctx, cp, a, epoch, members)
		}
		if err != nil {
			return "", err
		}
		res.Registered++
		if moved {
			res.Moved++
		}
	}
	for _, m := range members {
		taken[m.RowID] = true
	}
	res.Rows += s.Rows
	res.RowsPresent += present
	if erased > 0 {
		return fmt.Sprintf("%d rows of it are of users who were erased since, and are to go from it as well: erase these users again", erased), nil
	}
	return "", nil
}

// erasedIn counts the rows of a file whose users were erased since.
func (k *Keeper) erasedIn(ctx context.Context, file spool, size int64) (n int64, err error) {
	r, err := Open(file, size)
	if err != nil {
		return 0, err
	}
	const most = 1000
	var rows []Found // what tells whether they are erased
	count := func() error {
		b, err := k.unerased(ctx, rows)
		n, rows = n+b.Erased, rows[:0]
		return err
	}
	for row, err := range r.Rows() {
		if err != nil {
			return n, err
		}
		rows = append(rows, Found{ArchivedRow: exportops.ArchivedRow{UserID: row.UserID, Timestamp: row.Timestamp, CreatedAt: row.CreatedAt}})
		if len(rows) == most {
			if err := count(); err != nil {
				return n, err
			}
		}
	}
	return n, count()
}

// contents reads a whole file: what it holds, and the members that it has.
func contents(file spool, size int64, sum [sha256.Size]byte) (s Summary, members []exportops.ArchiveMember, err error) {
	r, err := Open(file, size)
	if err != nil {
		return s, nil, err
	}
	hashes := sha256.New()
	for row, err := range r.Rows() {
		if err != nil {
			return s, nil, err
		}
		m := exportops.ArchiveMember{Position: s.Rows, RowID: row.ID, Hash: row.Hash()}
		members = append(members, m)
		hashes.Write(m.Hash[:])
		s.Rows++
		if t, ok := instant(row.Timestamp); ok {
			s.cover(t)
		}
	}
	hashes.Sum(s.RowsSHA256[:0])
	s.Bytes, s.SHA256 = size, sum
	return s, members, nil
}

// present counts the rows that are in the database.
func (k *Keeper) present(ctx context.Context, members []exportops.ArchiveMember) (n int64, err error) {
	const most = 200
	for len(members) > 0 {
		ids := make([]string, min(most, len(members)))
		for i := range ids {
			ids[i] = members[i].RowID
		}
		rows, read, err := k.Store.ArchivedRows(ctx, ids)
		if err != nil {
			return n, err
		}
		n, members = n+int64(len(rows)), members[read:]
	}
	return n, nil
}
