package app_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/config"
)

func TestNewOpensADatabase(t *testing.T) {
	ready := func(t *testing.T, c config.Config, o app.Options) error {
		t.Helper()
		o.Events = io.Discard
		if err := os.MkdirAll(c.Storage.Root, 0o750); err != nil {
			t.Fatal(err)
		}
		a, err := app.New(t.Context(), c, o)
		if err != nil {
			return err
		}
		var n int
		err = writer(a.Store).QueryRowContext(t.Context(), `SELECT count(*) FROM sqlite_schema WHERE name IN ('river_job', 'exportops_runs')`).Scan(&n)
		if err == nil && n != 2 {
			err = fmt.Errorf("%d of 2 tables", n)
		}
		return errors.Join(a.Ready(t.Context()), err, a.Close())
	}
	t.Run("that_is_empty", func(t *testing.T) {
		c := settings(t, nil)
		if err := os.WriteFile(c.DatabasePath, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ready(t, c, app.Options{Migrate: true}); err != nil {
			t.Error(err)
		}
	})
	t.Run("of_a_version_before_the_job_engine", func(t *testing.T) {
		c := settings(t, nil)
		s := open(t, c)
		for _, table := range []string{"river_job", "river_leader", "river_queue", "river_migration", "river_client", "river_client_queue", "river_notification", "exportops_schema"} {
			if _, err := writer(s.Store).ExecContext(t.Context(), `DROP TABLE IF EXISTS `+table); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := writer(s.Store).QueryContext(t.Context(), `SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'exportops%'`)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil { //nolint:sqlclosecheck // before tables can be dropped
			t.Fatal(err)
		}
		for _, name := range names {
			if _, err := writer(s.Store).ExecContext(t.Context(), `DROP TABLE `+name); err != nil {
				t.Fatal(err)
			}
		}
		s.expired(c.Storage.Root, 1)
		s.close()
		if err := ready(t, c, app.Options{}); exportops.KindOf(err) != exportops.KindUnavailable {
			t.Errorf("without being told to migrate: %v", err)
		}
		if err := ready(t, c, app.Options{Migrate: true}); err != nil {
			t.Error(err)
		}
		s = open(t, c)
		defer s.close()
		var n int
		if err := writer(s.Store).QueryRowContext(t.Context(), `SELECT count(*) FROM export_logs`).Scan(&n); err != nil || n != 1 {
			t.Errorf("%d rows of the application are left, %v", n, err)
		}
	})
	t.Run("never_one_that_is_missing_unless_told_to", func(t *testing.T) {
		c := settings(t, nil)
		var e *exportops.Error
		if err := ready(t, c, app.Options{Migrate: true}); !errors.As(err, &e) || e.Kind != exportops.KindUnavailable ||
			e.Field != "DATABASE_URL" || !strings.Contains(e.Hint, "exportops migrate") {
			t.Errorf("%v", err)
		}
		if _, err := os.Stat(c.DatabasePath); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it made the file: %v", err)
		}
		if err := ready(t, c, app.Options{Create: true}); err != nil {
			t.Error(err)
		}
	})
}
