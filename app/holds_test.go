package app_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/jobs"
)

// onPostgres makes a database of its own on the test server.
func onPostgres(t *testing.T) func(*config.Settings) {
	t.Helper()
	server := os.Getenv("EXPORTOPS_TEST_POSTGRES")
	if server == "" {
		t.Skip("EXPORTOPS_TEST_POSTGRES names no server")
	}
	name := "exportops_" + strings.ReplaceAll(exportops.NewID(), "-", "")
	admin := func(query string) {
		t.Helper()
		ctx := context.Background() // the database is dropped after the test's context has ended
		conn, err := pgx.Connect(ctx, server)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(ctx) }()
		if _, err := conn.Exec(ctx, query); err != nil {
			t.Fatal(err)
		}
	}
	admin(`CREATE DATABASE ` + name)
	t.Cleanup(func() { admin(`DROP DATABASE ` + name + ` WITH (FORCE)`) })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return func(s *config.Settings) { s.DatabaseURL = u.String() }
}

// watched tells of the first deletion, and does not make it before it is told to.
type watched struct {
	exportops.FileStore
	once  sync.Once
	began chan struct{}
	goOn  chan struct{}
}

func (f *watched) MaxBatch() int { return 50 }

func (f *watched) Delete(ctx context.Context, refs []exportops.FileRef) ([]exportops.FileResult, error) {
	f.once.Do(func() {
		close(f.began)
		<-f.goOn
	})
	return f.FileStore.Delete(ctx, refs)
}

// TestHoldsWhileACleanupRuns places 1,000 holds while 1,200 files are being
// deleted: what is held is there afterwards, and what is gone was never held.
func TestHoldsWhileACleanupRuns(t *testing.T) {
	t.Run("on_sqlite", func(t *testing.T) { holdsWhileACleanupRuns(t, settings(t, nil), 1) })
	t.Run("on_postgres_with_a_helper", func(t *testing.T) {
		c := settings(t, onPostgres(t))
		if _, err := app.Migrate(t.Context(), c, true); err != nil {
			t.Fatal(err)
		}
		holdsWhileACleanupRuns(t, c, 2)
	})
}

func holdsWhileACleanupRuns(t *testing.T, c config.Config, replicas int) {
	const files, holds, holders = 1200, 1000, 4
	var all []*server
	for range replicas {
		s := open(t, c)
		t.Cleanup(s.close)
		all = append(all, s)
	}
	rows := dueExports(t, all[0].Store, c.Storage.Root, files)
	w := &watched{FileStore: all[0].Files, began: make(chan struct{}), goOn: make(chan struct{})}
	runner := func(s *server) *jobs.Runner {
		return jobs.New(jobs.Options{
			Store: s.Store, Files: w, Locator: app.Locator(c), Metrics: s.Metrics, Events: exportops.NoEvents{}, Now: time.Now,
			LogRetention: c.LogRetention, Holder: exportops.NewID(),
		})
	}
	var wg sync.WaitGroup
	var answer jobs.Answer
	wg.Go(func() {
		var err error
		answer, err = runner(all[0]).Run(t.Context(), jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCommand})
		if err != nil {
			t.Error(err)
		}
	})
	<-w.began
	for _, s := range all[1:] {
		run, _ := s.latest()
		wg.Go(func() {
			if err := runner(s).Help(t.Context(), run); err != nil {
				t.Error(err)
			}
		})
	}
	// Half of them from where the cleanup begins, half from where it ends.
	held, late := make([]bool, files), make([]bool, files)
	place := func(i int) {
		h := exportops.Hold{Scope: exportops.HoldExport, Subject: rows[i].ExportID, Reason: "a case", PlacedBy: "counsel", PlacedAt: exportops.At(time.Now())}
		_, err := all[i%replicas].Store.PlaceHold(t.Context(), h, app.Locator(c))
		held[i], late[i] = err == nil, exportops.IsKind(err, exportops.KindConflict)
		if err != nil && !late[i] {
			t.Error(err)
		}
	}
	place(0)
	place(files - 1)
	close(w.goOn)
	for n := range holders {
		wg.Go(func() {
			for i := 1 + n/2; i < holds/2; i += holders / 2 {
				if n%2 == 0 {
					place(i)
				} else {
					place(files - 1 - i)
				}
			}
		})
	}
	wg.Wait()

	var accepted, refused, gone int
	for i, r := range rows {
		_, err := os.Stat(filepath.Join(c.Storage.Root, *r.FileURL))
		vanished := os.IsNotExist(err)
		switch {
		case held[i] && vanished:
			t.Errorf("the file of export %d is gone, and its hold was accepted", i)
		case late[i] && !vanished:
			t.Errorf("the file of export %d is there, and its hold was refused", i)
		case !held[i] && !vanished:
			t.Errorf("the file of export %d is left, and nobody holds it", i)
		case held[i]:
			accepted++
		case late[i]:
			refused++
		}
		if vanished {
			gone++
		}
	}
	if accepted == 0 || refused == 0 || accepted+refused != holds {
		t.Errorf("%d holds were accepted and %d refused, of %d", accepted, refused, holds)
	}
	if r := answer.Result.Files; r == nil || r.DeletedCount != int64(gone) || !r.Complete {
		t.Errorf("%d files are gone, and the run says %+v", gone, r)
	}
	t.Logf("%d holds were accepted and %d refused", accepted, refused)
}

// dueExports adds exports that expired one after the other, with their files.
func dueExports(t *testing.T, s exportops.ExportStore, root string, n int) []exportops.Export {
	t.Helper()
	past := exportops.At(time.Now().Add(-48 * time.Hour))
	all := make([]exportops.Export, n)
	for i := range all {
		name, expires := fmt.Sprintf("%04d.csv", i), exportops.At(past.Add(time.Duration(i+1)*time.Second))
		if err := os.WriteFile(filepath.Join(root, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		all[i] = exportops.Export{
			ID: exportops.NewID(), ExportID: exportops.NewID(), UserID: exportops.NewID(), Timestamp: past, Format: exportops.CSV,
			Config: []byte(`{}`), Status: exportops.Completed, FileURL: &name, ExpiresAt: &expires, CreatedAt: past, UpdatedAt: past,
		}
	}
	receipts, err := s.ImportExports(t.Context(), all, exportops.At(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range receipts {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	return all
}
