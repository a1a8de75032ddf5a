package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/exportops/exportops"
)

// MaxRows and MaxBytes bound one archive: so much is read, written and read back
// before the first of its rows is deleted.
const (
	MaxRows  = 50_000
	MaxBytes = 64 << 20 // of the rows' texts, before compression
)

// Store keeps the records of archives, and knows who was erased.
type Store interface {
	exportops.ArchiveStore
	// ErasedAt is that of exportops.ErasureStore.
	ErasedAt(ctx context.Context, userIDs []string) (map[string]exportops.Time, error)
}

// Keeper archives log rows, and reads archives back.
type Keeper struct {
	Store   Store
	Objects exportops.ObjectStore
	Dir     string // of temporary files; "" is the system's
	Program string // and its version, for manifests
}

// Place names the storage that archives are written to.
func (k *Keeper) Place() string { return k.Objects.ID() }

// Month is the month whose archives a row with this timestamp belongs to; false
// where that is no time.
func (k *Keeper) Month(timestamp string) (exportops.Time, bool) {
	t, ok := instant(timestamp)
	if !ok {
		return exportops.Time{}, false
	}
	return monthOf(t), true
}

func monthOf(t time.Time) exportops.Time {
	t = t.UTC()
	return exportops.At(time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC))
}

// Checkpoints gives each transaction of a run its checkpoint.
type Checkpoints = func() (exportops.Checkpoint, error)

// Write archives rows of a month: it reads them, records what it is going to write,
// and writes it. The archive is written then, and nothing is known of it yet but that
// storage acknowledged it; see Prove. It returns how many of the ids it came to, as
// an archive has room for; those of them that cannot be archived, or are of another
// month by now, are left. Without any row there is no archive, and its id is 0. Where
// a user is erased meanwhile, the rows are read again.
func (k *Keeper) Write(ctx context.Context, next Checkpoints, month exportops.Time, ids []string) (
	a exportops.Archive, read int, left []string, err error,
) {
	for {
		a, read, left, err = k.write(ctx, next, month, ids)
		if !errors.Is(err, exportops.ErrEpoch) {
			return a, read, left, err
		}
	}
}

func (k *Keeper) write(ctx context.Context, next Checkpoints, month exportops.Time, ids []string) (
	a exportops.Archive, read int, left []string, err error,
) {
	epoch, err := k.Store.ArchiveEpoch(ctx)
	if err != nil {
		return a, 0, nil, err
	}
	file, err := newSpool(k.Dir)
	if err != nil {
		return a, 0, nil, err
	}
	defer func() { err = errors.Join(err, file.close()) }()
	w := NewWriter(file)
	members := make([]exportops.ArchiveMember, 0, min(len(ids), MaxRows))
	var moved []string
	read, left, err = k.each(ctx, ids, func(r *exportops.ArchivedRow) error {
		if of, ok := k.Month(r.Timestamp); ok && !of.Equal(month.Time) {
			moved = append(moved, r.ID)
			return nil
		}
		members = append(members, exportops.ArchiveMember{Position: int64(len(members)), RowID: r.ID, Hash: r.Hash()})
		return w.Write(r)
	})
	left = append(left, moved...)
	if err != nil || len(members) == 0 {
		return a, read, left, err
	}
	s, err := w.Close()
	if err != nil {
		return a, read, left, err
	}
	if a, err = k.intend(ctx, next, k.describe(month, s), epoch, members, named(month, s)); err != nil {
		return a, read, left, err
	}
	a, err = k.create(ctx, next, a, file, s)
	return a, read, left, err
}

// create writes the object of an archive that is intended.
func (k *Keeper) create(ctx context.Context, next Checkpoints, a exportops.Archive, file spool, s Summary) (exportops.Archive, error) {
	_, err := file.Seek(0, io.SeekStart)
	if err == nil {
		err = k.Objects.Create(ctx, a.Key, file, s.Bytes, s.SHA256)
	}
	// Where there is an object already, it may be ours: reading it back tells.
	if err != nil && !exportops.IsKind(err, exportops.KindConflict) {
		err = fmt.Errorf("write archive %s: %w", a.Key, err)
		return a, errors.Join(err, k.note(ctx, next, a, err))
	}
	moved, err := k.move(ctx, next, a.ID, exportops.ArchiveWritten, "")
	if errors.Is(err, exportops.ErrFenced) {
		return a, errors.Join(err, k.disown(ctx, a))
	}
	return moved, err
}

// disown removes an object that was written too late: another run took the archive
// over and gave it up, and may have seen to it that there is no such object.
func (k *Keeper) disown(ctx context.Context, a exportops.Archive) error {
	now, err := k.Store.Archive(ctx, a.ID)
	if err != nil || now.MayBeRemoved() != nil {
		return err // whoever has it will find the object
	}
	return k.Remove(ctx, a)
}

// each reads rows in pages that keep memory flat, whatever is in them.
func (k *Keeper) each(ctx context.Context, ids []string, fn func(*exportops.ArchivedRow) error) (
	read int, left []string, err error,
) {
	const first, most = 100, 1000
	taken := 0
	for size := first; read < len(ids) && taken < MaxBytes; {
		page := ids[read:min(len(ids), read+size)]
		rows, n, err := k.Store.ArchivedRows(ctx, page)
		if err != nil {
			return read, left, err
		}
		at := 0
		for _, id := range page[:n] {
			if at == len(rows) || rows[at].ID != id {
				left = append(left, id)
				continue
			}
			if err := fn(&rows[at]); err != nil {
				return read, left, err
			}
			taken += rows[at].Size()
			at++
		}
		read += n
		if size = min(2*size, most); n < len(page) { // rows have become large
			size = n
		}
	}
	return read, left, nil
}

// describe says what a file that is to be an archive is.
func (k *Keeper) describe(month exportops.Time, s Summary) exportops.Archive {
	a := exportops.Archive{
		Store: k.Objects.ID(), Month: month, Rows: s.Rows, Bytes: s.Bytes, SHA256: hex.EncodeToString(s.SHA256[:]),
	}
	if s.Dated {
		a.Oldest, a.Newest = &s.Oldest, &s.Newest
	}
	return a
}

// named gives an archive its key.
func named(month exportops.Time, s Summary) func(sequence int64) string {
	return func(sequence int64) string { return NameOf(month, sequence, s.SHA256).Key() }
}

// intend records an archive with all of its rows. One that cannot have them is given
// up at once.
func (k *Keeper) intend(ctx context.Context, next Checkpoints, a exportops.Archive, epoch int64, members []exportops.ArchiveMember,
	name func(sequence int64) string,
) (exportops.Archive, error) {
	cp, err := next()
	if err != nil {
		return a, err
	}
	a, err = k.Store.BeginArchive(ctx, cp, a, epoch, name)
	if err != nil {
		return a, err
	}
	const most = 2000
	for ; len(members) > 0; members = members[min(most, len(members)):] {
		if cp, err = next(); err != nil {
			return a, err
		}
		if err = k.Store.AddArchiveMembers(ctx, cp, a.ID, members[:min(most, len(members))]); err != nil {
			_, gone := k.move(ctx, next, a.ID, exportops.ArchiveAbandoned, err.Error())
			return a, errors.Join(err, gone)
		}
	}
	return a, nil
}

func (k *Keeper) move(ctx context.Context, next Checkpoints, id int64, to exportops.ArchiveState, why string) (exportops.Archive, error) {
	cp, err := next()
	if err != nil {
		return exportops.Archive{}, err
	}
	return k.Store.MoveArchive(ctx, cp, id, to, why)
}

// note keeps with an archive what went wrong.
func (k *Keeper) note(ctx context.Context, next Checkpoints, a exportops.Archive, why error) error {
	_, err := k.move(ctx, next, a.ID, a.State, why.Error())
	return err
}

// Prove reads an archive back, and its manifest, which it writes where there is
// none. The fault says what is not as it was written; an error, that it could not be
// found out. Of the rows of an archive those are compared that nobody has dealt with
// yet; all are covered by its SHA-256.
func (k *Keeper) Prove(ctx context.Context, a exportops.Archive) (fault string, err error) {
	return k.prove(ctx, a, true)
}

// Check is Prove, and writes nothing.
func (k *Keeper) Check(ctx context.Context, a exportops.Archive) (fault string, err error) {
	return k.prove(ctx, a, false)
}

func (k *Keeper) prove(ctx context.Context, a exportops.Archive, write bool) (fault string, err error) {
	if err := k.here(a); err != nil {
		return "", err
	}
	file, err := newSpool(k.Dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.close()) }()
	size, sum, err := fetch(ctx, k.Objects, a.Key, file, a.Bytes)
	switch {
	case exportops.IsKind(err, exportops.KindNotFound):
		return "there is no such object", nil
	case err != nil:
		return "", err
	case size != a.Bytes:
		return fmt.Sprintf("it has another size than the %d bytes that were written", a.Bytes), nil
	case hex.EncodeToString(sum[:]) != a.SHA256:
		return "its SHA-256 is not what it was", nil
	}
	s, err := k.compare(ctx, a, file)
	if errors.Is(err, ErrCorrupt) {
		return err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	return k.manifest(ctx, a, s, write)
}

// here refuses an archive that lies in another storage than that which is open.
func (k *Keeper) here(a exportops.Archive) error {
	if a.Store == k.Objects.ID() {
		return nil
	}
	return &exportops.Error{
		Kind: exportops.KindUnavailable, Field: "EXPORT_ARCHIVE_URL",
		Message: fmt.Sprintf("archive %s lies in %s, and %s is configured", a.Key, a.Store, k.Objects.ID()),
		Hint: "configure the storage that holds it; or copy the archive and its manifest to the one that is configured, " +
			"under the same keys, and record that with: exportops archive register",
	}
}

// compare decodes the rows of a file and compares each with the hash that was
// recorded for it.
func (k *Keeper) compare(ctx context.Context, a exportops.Archive, file spool) (s Summary, err error) {
	r, err := Open(file, a.Bytes)
	if err != nil {
		return s, err
	}
	members := &memberReader{ctx: ctx, store: k.Store, id: a.ID}
	hashes := sha256.New()
	for row, err := range r.Rows() {
		if err != nil {
			return s, err
		}
		hash := row.Hash()
		m, err := members.at(s.Rows)
		switch {
		case err != nil:
			return s, err
		case m == nil && !a.State.Trusted():
			return s, fmt.Errorf("%w: nothing is recorded of its row %d", ErrCorrupt, s.Rows)
		case m != nil && (m.Hash != hash || m.RowID != row.ID):
			return s, fmt.Errorf("%w: its row %d is not what was archived", ErrCorrupt, s.Rows)
		}
		hashes.Write(hash[:])
		s.Rows++
		if t, ok := instant(row.Timestamp); ok {
			s.cover(t)
		}
	}
	if s.Rows != a.Rows {
		return s, fmt.Errorf("%w: it has %d rows, and %d were written", ErrCorrupt, s.Rows, a.Rows)
	}
	hashes.Sum(s.RowsSHA256[:0])
	sum, err := hex.DecodeString(a.SHA256)
	copy(s.SHA256[:], sum)
	s.Bytes = a.Bytes
	return s, err
}

// memberReader reads the members of an archive in the order of their places.
type memberReader struct {
	ctx   context.Context // one reading, one context
	store exportops.ArchiveStore
	id    int64
	page  []exportops.ArchiveMember
	from  int64
	ended bool
}

// at returns the member at a position, nil where there is none. Positions rise from
// call to call.
func (m *memberReader) at(position int64) (*exportops.ArchiveMember, error) {
	const most = 1000
	for len(m.page) > 0 && m.page[0].Position < position {
		m.page = m.page[1:]
	}
	if len(m.page) == 0 && !m.ended && position >= m.from {
		var err error
		if m.page, err = m.store.ArchiveMembers(m.ctx, m.id, position, most); err != nil {
			return nil, err
		}
		if m.ended = len(m.page) == 0; !m.ended {
			m.from = m.page[len(m.page)-1].Position + 1
		}
	}
	if len(m.page) > 0 && m.page[0].Position == position {
		return &m.page[0], nil
	}
	return nil, nil //nolint:nilnil // there is none, which is no error
}

// manifest compares the manifest that lies beside an archive, and writes one where
// there is none and it may.
func (k *Keeper) manifest(ctx context.Context, a exportops.Archive, s Summary, write bool) (fault string, err error) {
	name, err := ParseKey(a.Key)
	if err != nil {
		return err.Error(), nil //nolint:nilerr // the fault says it
	}
	body, err := k.Objects.Open(ctx, name.ManifestKey())
	switch {
	case exportops.IsKind(err, exportops.KindNotFound) && write:
		return "", k.writeManifest(ctx, name, s, a.CreatedAt)
	case exportops.IsKind(err, exportops.KindNotFound):
		return "its manifest is missing", nil
	case err != nil:
		return "", fmt.Errorf("read the manifest of %s: %w", a.Key, err)
	}
	m, err := ParseManifest(body)
	if err = errors.Join(err, body.Close()); exportops.IsKind(err, exportops.KindInvalid) {
		return "its manifest is none: " + err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	if err := m.Describes(s); m.Key != a.Key || err != nil {
		return "its manifest describes another archive", nil //nolint:nilerr // the fault says it
	}
	return "", nil
}

func (k *Keeper) writeManifest(ctx context.Context, n Name, s Summary, createdAt exportops.Time) error {
	text, err := NewManifest(n, s, createdAt, k.Program).Encode()
	if err != nil {
		return err
	}
	err = k.Objects.Create(ctx, n.ManifestKey(), bytes.NewReader(text), int64(len(text)), sha256.Sum256(text))
	if err != nil {
		return fmt.Errorf("write the manifest %s: %w", n.ManifestKey(), err)
	}
	return nil
}
