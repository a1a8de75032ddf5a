package cleanup_test

import (
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// Ids are text in SQLite, and any program may have written those of the rows.
func TestAUserIsKnownInWhicheverCase(t *testing.T) {
	for how, user := range map[string]string{
		"small_letters": person, "capitals": strings.ToUpper(person), "mixed_case": "A1b2C3d4-1111-4222-8333-c0fFEe00bEEf",
	} {
		t.Run("erased_in_"+how, func(t *testing.T) {
			w := newWorld(t)
			w.Insert(row{ExportID: id(1), UserID: user, URL: "of the person"}, row{ExportID: id(2), UserID: other, URL: "of another"})
			w.Write("of the person", "x")
			w.Write("of another", "x")
			a, err := w.Runner().Run(t.Context(), eraseCall)
			w.Must(err)
			if a.Result.Erased.Receipt == nil {
				t.Errorf("there is no receipt: %+v", a.Result.Erased)
			}
			wantKeys(t, w, "of another")
			want(t, "rows", w.Count(`SELECT count(*) FROM export_logs`), 1)
		})
		t.Run("held_in_"+how, func(t *testing.T) {
			w := newWorld(t)
			w.Insert(
				row{ExportID: id(1), UserID: user, URL: "held", Status: exportops.Failed},
				row{ExportID: id(2), UserID: other, URL: "s3://exports/held"}, // due
			)
			w.Write("held", "x")
			w.Write("free", "x")
			hold(t, w, exportops.HoldUser, person)
			clean(t, w)
			wantKeys(t, w, "free", "held")
		})
	}
}

// A row that comes late, in another spelling, is nothing that a receipt may overlook.
func TestARowThatComesWhileItsUserIsErased(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), UserID: person, URL: "f1"})
	w.Write("f1", "x")
	w.Write("f2", "x")
	w.Files.Before = func([]string) error {
		w.Files.Before = nil
		w.Insert(row{ExportID: id(2), UserID: strings.ToUpper(person[:18]) + person[18:], URL: "f2"})
		return nil
	}
	a, err := w.Runner().Run(t.Context(), eraseCall)
	w.Must(err)
	if e := a.Result.Erased; e.Receipt != nil || e.Left == 0 && e.Complete {
		t.Errorf("there is a receipt while a row is left: %+v", e)
	}
	_, err = w.Runner().Run(t.Context(), jobs.Request{Job: exportops.EraseUser, Trigger: exportops.ByCommand, UserID: person})
	w.Must(err)
	wantKeys(t, w)
}
