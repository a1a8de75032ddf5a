package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// refusing is a database whose table does not take some exports.
type refusing struct {
	importStore
	refuses func(exportops.Export) error
	rows    []string
}

func (r *refusing) ImportExports(_ context.Context, batch []exportops.Export, _ exportops.Time) ([]exportops.Receipt, error) {
	for _, e := range batch {
		if err := r.refuses(e); err != nil {
			return nil, err
		}
	}
	receipts := make([]exportops.Receipt, len(batch))
	for i, e := range batch {
		receipts[i].New = true
		r.rows = append(r.rows, e.ExportID)
	}
	return receipts, nil
}

func importAll(t *testing.T, store importStore, text string) (importAnswer, string, error) {
	t.Helper()
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	i := &importer{store: store, want: kindLog, out: &printer{file: said}, now: time.Now(), unknown: map[string]bool{}}
	src, err := newSource(newLines(strings.NewReader(text)), "jsonl")
	if err != nil {
		t.Fatal(err)
	}
	err = i.all(t.Context(), src)
	b, readErr := os.ReadFile(said.Name())
	if readErr != nil {
		t.Fatal(readErr)
	}
	return i.count, string(b), err
}

func TestARowThatTheTableRefusesCostsItself(t *testing.T) {
	var text strings.Builder
	var ids []string
	for range 1200 {
		id := exportops.NewID()
		ids = append(ids, id)
		text.WriteString(`{"export_id":"` + id + `","user_id":"` + id + `","timestamp":"2026-01-01T00:00:00Z","format":"csv","config":{},` +
			`"conversation_count":1,"status":"queued"}` + "\n")
	}
	bad := []string{ids[0], ids[300], ids[301], ids[1199]}
	store := &refusing{refuses: func(e exportops.Export) error {
		if slices.Contains(bad, e.ExportID) {
			return exportops.Invalid("user_id", "nobody of that name")
		}
		return nil
	}}
	got, said, err := importAll(t, store, text.String())
	if err != nil {
		t.Fatal(err)
	}
	if want := (importAnswer{Records: 1200, New: 1196, Refused: 4}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	want := "line 1: user_id: nobody of that name\nline 301: user_id: nobody of that name\n" +
		"line 302: user_id: nobody of that name\nline 1200: user_id: nobody of that name\n"
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
	if left := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(bad, id) }); !slices.Equal(store.rows, left) {
		t.Error("the others are not there, or not in order")
	}
	t.Run("a_database_that_is_gone_ends_it", func(t *testing.T) {
		gone := errors.New("gone")
		calls := 0
		store := &refusing{refuses: func(exportops.Export) error { calls++; return gone }}
		if _, _, err := importAll(t, store, text.String()); !errors.Is(err, gone) || calls != 1 {
			t.Errorf("%v after %d calls", err, calls)
		}
	})
}
