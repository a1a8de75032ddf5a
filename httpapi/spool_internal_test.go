package httpapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// TestABodyIsSpooledUpToItsLimit sends bodies that do not say how long they are.
func TestABodyIsSpooledUpToItsLimit(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s := &server{Options: Options{Clock: time.Now, Budget: time.Minute}}
	sent := func(body string) *call {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", io.MultiReader(strings.NewReader(body)))
		return &call{r: r, w: &response{ResponseWriter: httptest.NewRecorder()}}
	}
	if c := sent("x"); c.r.ContentLength != -1 {
		t.Fatalf("the length is %d", c.r.ContentLength)
	}
	f, err := s.spool(sent(strings.Repeat("x", 1000)), 1000)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Seek(0, io.SeekEnd); err != nil || n != 1000 {
		t.Errorf("it holds %d bytes, %v", n, err)
	}
	if err := drop(f); err != nil {
		t.Error(err)
	}
	if _, err := s.spool(sent(strings.Repeat("x", 1001)), 1000); !exportops.IsKind(err, exportops.KindTooLarge) {
		t.Errorf("one byte more: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	t.Setenv("TMPDIR", dir+"/none")
	if _, err := s.spool(sent("x"), 1000); !exportops.IsKind(err, exportops.KindUnavailable) {
		t.Errorf("without a folder: %v", err)
	}
}
