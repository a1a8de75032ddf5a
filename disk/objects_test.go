package disk_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/disk"
	"github.com/exportops/exportops/filetest"
)

func TestObjectConformance(t *testing.T) {
	filetest.RunObjects(t, func(t *testing.T) filetest.ObjectFixture {
		t.Helper()
		dir := t.TempDir()
		return filetest.ObjectFixture{
			Store:      openObjects(t, dir),
			Put:        func(key string, content []byte) error { return write(dir, key, content) },
			Keys:       func() ([]string, error) { return list(dir) },
			RemoveRoot: func() error { return os.RemoveAll(dir) },
		}
	})
}

func openObjects(tb testing.TB, dir string) *disk.Objects {
	tb.Helper()
	o, err := disk.OpenObjects(dir)
	check(tb, err)
	tb.Cleanup(func() { check(tb, o.Close()) })
	return o
}

func createObject(t *testing.T, o *disk.Objects, key, content string) error {
	t.Helper()
	return o.Create(t.Context(), key, strings.NewReader(content), int64(len(content)), sha256.Sum256([]byte(content)))
}

func TestObjectsAreNeverBehindALink(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need rights there")
	}
	dir := t.TempDir()
	o := openObjects(t, dir)
	elsewhere := t.TempDir()
	put(t, elsewhere, "a", []byte("not ours"))
	put(t, dir, "real/a", []byte("ours"))
	check(t, os.Symlink(elsewhere, filepath.Join(dir, "out")))
	check(t, os.Symlink("real", filepath.Join(dir, "in")))
	check(t, os.Symlink("a", filepath.Join(dir, "real", "link")))
	check(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	for _, key := range []string{"out/a", "in/a", "real/link"} {
		if body, err := o.Open(t.Context(), key); !errors.Is(err, exportops.ErrBadKey) {
			t.Errorf("Open(%q) = %v, %v, want ErrBadKey", key, body, err)
		}
		if err := o.Delete(t.Context(), key); !errors.Is(err, exportops.ErrBadKey) {
			t.Errorf("Delete(%q): %v, want ErrBadKey", key, err)
		}
	}
	for _, key := range []string{"out/new", "in/new"} {
		if err := createObject(t, o, key, "x"); !errors.Is(err, exportops.ErrBadKey) {
			t.Errorf("Create(%q): %v, want ErrBadKey", key, err)
		}
	}
	for _, key := range []string{"dangling", "real/link", "real"} {
		if err := createObject(t, o, key, "x"); !exportops.IsKind(err, exportops.KindConflict) {
			t.Errorf("Create(%q): %v, want a conflict", key, err)
		}
	}
	var listed []string
	for x, err := range o.List(t.Context(), "") {
		check(t, err)
		listed = append(listed, x.Key)
	}
	if strings.Join(listed, " ") != "real/a" {
		t.Errorf("listed %q", listed)
	}
	expectExists(t, filepath.Join(elsewhere, "a"))
}

// stopping ends the context in the middle of a body, as a shutdown does.
type stopping struct {
	io.ReadSeeker
	stop    func()
	rewinds int
}

func (s *stopping) Seek(to int64, whence int) (int64, error) {
	s.rewinds++
	return s.ReadSeeker.Seek(to, whence)
}

func (s *stopping) Read(p []byte) (int, error) {
	n, err := s.ReadSeeker.Read(p[:min(len(p), 60_000)])
	if s.rewinds > 1 { // the first time it is only looked at
		s.stop()
	}
	return n, err
}

func TestACreationThatIsStoppedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	o := openObjects(t, dir)
	content := bytes.Repeat([]byte("x"), 100_000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := o.Create(ctx, "a/b", &stopping{ReadSeeker: bytes.NewReader(content), stop: cancel}, int64(len(content)), sha256.Sum256(content))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Create: %v", err)
	}
	if left := keys(t, dir); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// A process that was killed while it wrote leaves a file that is nobody's.
func TestWhatAKilledProcessLeftIsNoObject(t *testing.T) {
	dir := t.TempDir()
	o := openObjects(t, dir)
	put(t, dir, "a/.exportops-new-ABC", []byte("half"))
	put(t, dir, ".exportops-new-ABC", []byte("half"))
	put(t, dir, ".exportops-probe-ABC", []byte("probe"))
	for x, err := range o.List(t.Context(), "") {
		t.Errorf("listed %+v, %v", x, err)
	}
	if _, err := o.Open(t.Context(), "a/.exportops-new-ABC"); !errors.Is(err, exportops.ErrBadKey) {
		t.Errorf("Open: %v, want ErrBadKey", err)
	}
	check(t, createObject(t, o, "a/b", "x"))
	writing, err := o.Sweep(t.Context())
	if check(t, err); len(writing) > 0 {
		t.Errorf("being written: %q", writing)
	}
	if left := keys(t, dir); strings.Join(left, " ") != ".exportops-probe-ABC a/b" {
		t.Errorf("left %q", left)
	}
}

// pausing calls something in the middle of a body.
type pausing struct {
	io.ReadSeeker
	rewinds int
	during  func()
}

func (p *pausing) Seek(to int64, whence int) (int64, error) {
	p.rewinds++
	return p.ReadSeeker.Seek(to, whence)
}

func (p *pausing) Read(b []byte) (int, error) {
	if p.rewinds > 1 {
		p.during()
	}
	return p.ReadSeeker.Read(b)
}

func TestASweepLeavesWhatIsBeingWritten(t *testing.T) {
	dir := t.TempDir()
	o, another := openObjects(t, dir), openObjects(t, dir)
	content, met := []byte("whole"), 0
	body := &pausing{ReadSeeker: bytes.NewReader(content), during: func() {
		writing, err := another.Sweep(t.Context())
		if check(t, err); len(writing) != 1 || !strings.HasPrefix(writing[0], "a/.exportops-new-") {
			t.Errorf("being written: %q", writing)
		}
		met++
	}}
	check(t, o.Create(t.Context(), "a/b", body, int64(len(content)), sha256.Sum256(content)))
	if left := keys(t, dir); met == 0 || strings.Join(left, " ") != "a/b" {
		t.Errorf("left %q", left)
	}
}
