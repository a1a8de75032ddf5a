package filetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// ObjectFixture is an object store that holds nothing, and hooks that reach behind
// it.
type ObjectFixture struct {
	Store exportops.ObjectStore
	// Put writes an object without the store, whatever is there.
	Put func(key string, content []byte) error
	// Keys lists everything there is, in any order.
	Keys func() ([]string, error)
	// RemoveRoot takes the root away while the store is open; nil where that
	// cannot be done.
	RemoveRoot func() error
	// Overwrites says that the service does not heed that an object is only to be
	// created. ProbeCreate must then find out.
	Overwrites bool
	// Races says that of several who create an object in the same moment more than one
	// may be told that it did. What is there must be of one of them all the same.
	Races bool
	// Many is how many objects a list is tried with: more than it answers in one
	// page. 1100 where it is 0.
	Many int
}

// RunObjects runs the suite of object stores; open returns a fresh fixture each
// time.
func RunObjects(t *testing.T, open func(t *testing.T) ObjectFixture) {
	t.Helper()
	for _, about := range []struct {
		name string
		tell func(objects)
	}{
		{"creates_and_reads_back", objects.createsAndReadsBack},
		{"never_overwrites", objects.neverOverwrites},
		{"one_of_many_creators_wins", objects.oneCreatorWins},
		{"writes_nothing_but_what_was_announced", objects.writesWhatWasAnnounced},
		{"writes_nothing_of_a_body_that_breaks_off", objects.writesAllOrNothing},
		{"opens_nothing_that_is_not_there", objects.opensWhatIsThere},
		{"lists_by_prefix_in_order", objects.listsByPrefix},
		{"lists_page_by_page", objects.listsPages},
		{"deletes_and_takes_absent_for_done", objects.deletes},
		{"refuses_hostile_keys", objects.refusesHostileKeys},
		{"notices_a_missing_root", objects.noticesAMissingRoot},
		{"stops_when_the_context_ends", objects.stopsWhenTheContextEnds},
		{"probes_without_leaving_anything", objects.probes},
		{"has_a_stable_name", objects.hasAName},
	} {
		t.Run(about.name, func(t *testing.T) { about.tell(objects{t, open(t)}) })
	}
}

type objects struct {
	*testing.T
	ObjectFixture
}

func (o objects) must(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

func (o objects) create(key string, content []byte) error {
	return o.Store.Create(o.Context(), key, bytes.NewReader(content), int64(len(content)), sha256.Sum256(content))
}

func (o objects) content(key string) []byte {
	o.Helper()
	body, err := o.Store.Open(o.Context(), key)
	o.must(err)
	got, err := io.ReadAll(body)
	o.must(errors.Join(err, body.Close()))
	return got
}

func (o objects) expectContent(key string, want []byte) {
	o.Helper()
	if got := o.content(key); !bytes.Equal(got, want) {
		o.Errorf("%q holds %d bytes, %.40q, want %d, %.40q", key, len(got), got, len(want), want)
	}
}

func (o objects) expectKeys(want ...string) {
	o.Helper()
	got, err := o.Keys()
	o.must(err)
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); diff != "" {
		o.Errorf("objects (-want +got):\n%s", diff)
	}
}

func (o objects) list(prefix string) (keys []string) {
	o.Helper()
	for x, err := range o.Store.List(o.Context(), prefix) {
		o.must(err)
		keys = append(keys, x.Key)
	}
	return keys
}

func (o objects) expectList(prefix string, want ...string) {
	o.Helper()
	if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(o.list(prefix), "\n")); diff != "" {
		o.Errorf("objects that begin with %q (-want +got):\n%s", prefix, diff)
	}
}

func (o objects) createsAndReadsBack() {
	for key, content := range map[string][]byte{
		"export_logs/year=2025/month=10/000001-00000000.parquet": incompressible(300_000),
		"export_logs/year=2025/month=10/000001-00000000.json":    []byte("{}\n"),
		"empty": {},
		"bytes": {0, 255, '\r', '\n', 0},
	} {
		o.must(o.create(key, content))
		o.expectContent(key, content)
	}
	for x, err := range o.Store.List(o.Context(), "bytes") {
		if err != nil || x.Key != "bytes" || x.Size != 5 || x.Modified.IsZero() {
			o.Errorf("List = %+v, %v", x, err)
		}
	}
}

func incompressible(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}

func (o objects) neverOverwrites() {
	if o.Overwrites {
		o.Skip("not applicable: the service overwrites")
	}
	o.must(o.create("a/b", []byte("first")))
	o.must(o.Put("c", []byte("of somebody else")))
	for key, content := range map[string]string{"a/b": "first", "c": "of somebody else"} {
		for _, again := range []string{"second", content} {
			if err := o.create(key, []byte(again)); !exportops.IsKind(err, exportops.KindConflict) {
				o.Errorf("creating %q again: %v, want a conflict", key, err)
			}
		}
		o.expectContent(key, []byte(content))
	}
	o.expectKeys("a/b", "c")
}

func (o objects) oneCreatorWins() {
	if o.Overwrites {
		o.Skip("not applicable: the service overwrites")
	}
	var workers sync.WaitGroup
	contents, errs := make([][]byte, 8), make([]error, 8)
	for i := range errs {
		contents[i] = incompressible(10_000)
		workers.Go(func() { errs[i] = o.create("race/x", contents[i]) })
	}
	workers.Wait()
	won := slices.Index(errs, nil)
	if won < 0 {
		o.Fatalf("nobody won: %v", errs)
	}
	for i, err := range errs {
		if o.Races && err == nil {
			continue
		}
		if i != won && !exportops.IsKind(err, exportops.KindConflict) {
			o.Errorf("creator %d beside %d: %v, want a conflict", i, won, err)
		}
	}
	o.expectKeys("race/x")
	if o.Races {
		for i, err := range errs {
			if err == nil && bytes.Equal(o.content("race/x"), contents[i]) {
				return
			}
		}
		o.Error("what is there is of none of those who created it")
		return
	}
	o.expectContent("race/x", contents[won])
}

func (o objects) writesWhatWasAnnounced() {
	content := []byte("what was announced")
	sum := sha256.Sum256(content)
	for name, body := range map[string][]byte{"shorter": content[1:], "longer": append(slices.Clone(content), 'x'), "other": []byte("what was anNounced"), "none": nil} {
		if err := o.Store.Create(o.Context(), name, bytes.NewReader(body), int64(len(content)), sum); !exportops.IsKind(err, exportops.KindInvalid) {
			o.Errorf("a %s body: %v, want it to be invalid", name, err)
		}
	}
	if err := o.Store.Create(o.Context(), "size", bytes.NewReader(content), int64(len(content))+1, sum); !exportops.IsKind(err, exportops.KindInvalid) {
		o.Errorf("another size: %v, want it to be invalid", err)
	}
	o.expectKeys()
}

// breaking is a body that fails in the middle, the second time it is read: the first
// time it is looked at.
type breaking struct {
	*bytes.Reader
	rewinds int
}

var errBody = errors.New("the disk cannot be read")

func (b *breaking) Seek(to int64, whence int) (int64, error) {
	b.rewinds++
	return b.Reader.Seek(to, whence)
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.rewinds > 1 && b.Reader.Len() < 100_000 {
		return 0, errBody
	}
	return b.Reader.Read(p[:min(len(p), 4096)])
}

func (o objects) writesAllOrNothing() {
	content := incompressible(200_000)
	body := &breaking{Reader: bytes.NewReader(content)}
	if err := o.Store.Create(o.Context(), "a/half", body, int64(len(content)), sha256.Sum256(content)); err == nil {
		o.Error("half a body was written")
	}
	o.expectKeys()
	o.must(o.create("a/half", content))
	o.expectContent("a/half", content)
}

func (o objects) opensWhatIsThere() {
	o.must(o.create("a/b.parquet", []byte("x")))
	for _, key := range []string{"a", "a/b", "a/b.parquet/c", "b", "a/c"} {
		if body, err := o.Store.Open(o.Context(), key); !exportops.IsKind(err, exportops.KindNotFound) {
			o.Errorf("Open(%q) = %v, %v, want that it is not found", key, body, err)
		}
	}
}

func (o objects) listsByPrefix() {
	o.expectList("")
	keys := []string{"a", "a-b/c", "a.b", "a/b", "a/b/c", "a/b0", "a0", "b/x=1/y=2/f.json", "b/x=10/f", "b/x_1/f"}
	for _, key := range keys {
		if key == "a" || key == "a/b" { // no file is beside a folder of its name
			continue
		}
		o.must(o.Put(key, []byte(key)))
	}
	keys = slices.DeleteFunc(keys, func(key string) bool { return key == "a" || key == "a/b" })
	o.expectList("", keys...)
	o.expectList("a", "a-b/c", "a.b", "a/b/c", "a/b0", "a0")
	o.expectList("a/", "a/b/c", "a/b0")
	o.expectList("a/b", "a/b/c", "a/b0")
	o.expectList("b/x=1", "b/x=1/y=2/f.json", "b/x=10/f")
	o.expectList("b/x_", "b/x_1/f")
	o.expectList("b/x=1/y=2/f.json", "b/x=1/y=2/f.json")
	o.expectList("B")
	o.expectList("nothing/here")
	for x, err := range o.Store.List(o.Context(), "") {
		o.must(err)
		if x.Key != keys[0] {
			o.Errorf("the first is %q", x.Key)
		}
		break
	}
}

func (o objects) listsPages() {
	want := make([]string, max(o.Many, 1))
	if o.Many == 0 {
		want = make([]string, 1100)
	}
	for i := range want {
		want[i] = fmt.Sprintf("export_logs/year=2025/month=10/%06d-00000000.json", i+1)
		o.must(o.Put(want[i], nil))
	}
	o.must(o.Put("export_logs/year=2025/month=11/000001-00000000.json", nil))
	o.expectList("export_logs/year=2025/month=10/", want...)
}

func (o objects) deletes() {
	o.must(o.create("a/b", []byte("x")))
	o.must(o.create("a/bc", []byte("y")))
	for range 2 {
		o.must(o.Store.Delete(o.Context(), "a/b"))
		o.expectKeys("a/bc")
	}
	o.must(o.Store.Delete(o.Context(), "no/such/folder"))
	o.must(o.create("a/b", []byte("again")))
	o.expectContent("a/b", []byte("again"))
}

func (o objects) refusesHostileKeys() {
	o.must(o.Put("x", []byte("kept")))
	for _, key := range hostileKeys {
		_, openErr := o.Store.Open(o.Context(), key)
		for did, err := range map[string]error{"Create": o.create(key, nil), "Open": openErr, "Delete": o.Store.Delete(o.Context(), key)} {
			if !errors.Is(err, exportops.ErrBadKey) {
				o.Errorf("%s(%q): %v, want ErrBadKey", did, key, err)
			}
		}
	}
	o.expectKeys("x")
}

func (o objects) noticesAMissingRoot() {
	if o.RemoveRoot == nil {
		o.Skip("not applicable: the root cannot be taken away")
	}
	o.must(o.create("a", []byte("x")))
	o.must(o.RemoveRoot())
	_, openErr := o.Store.Open(o.Context(), "a")
	var listErr error
	for _, err := range o.Store.List(o.Context(), "") {
		listErr = err
	}
	for did, err := range map[string]error{
		"Create": o.create("b", nil), "Open": openErr, "List": listErr, "Delete": o.Store.Delete(o.Context(), "a"), "ProbeCreate": o.Store.ProbeCreate(o.Context()),
	} {
		if !errors.Is(err, exportops.ErrRootMissing) {
			o.Errorf("%s: %v, want ErrRootMissing", did, err)
		}
	}
}

func (o objects) stopsWhenTheContextEnds() {
	o.must(o.create("a", []byte("x")))
	ctx, cancel := context.WithCancel(o.Context())
	cancel()
	_, openErr := o.Store.Open(ctx, "a")
	var listErr error
	for _, err := range o.Store.List(ctx, "") {
		listErr = err
	}
	for did, err := range map[string]error{
		"Create": o.Store.Create(ctx, "b", bytes.NewReader(nil), 0, sha256.Sum256(nil)), "Open": openErr, "List": listErr,
		"Delete": o.Store.Delete(ctx, "a"), "ProbeCreate": o.Store.ProbeCreate(ctx),
	} {
		if !errors.Is(err, context.Canceled) {
			o.Errorf("%s: %v, want the context's error", did, err)
		}
	}
	o.expectKeys("a")
}

func (o objects) probes() {
	o.must(o.create("a", []byte("x")))
	err := o.Store.ProbeCreate(o.Context())
	switch {
	case o.Overwrites && (!exportops.IsKind(err, exportops.KindUnavailable) || !strings.Contains(err.Error(), "overwritten")):
		o.Errorf("ProbeCreate of a store that overwrites: %v", err)
	case !o.Overwrites && err != nil:
		o.Errorf("ProbeCreate: %v", err)
	}
	o.expectKeys("a")
}

func (o objects) hasAName() {
	id := o.Store.ID()
	if id == "" || o.Store.ID() != id || !strings.Contains(id, "://") {
		o.Errorf("ID = %q, then %q", id, o.Store.ID())
	}
}
