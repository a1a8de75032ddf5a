package postgres

import (
	"testing"

	"github.com/exportops/exportops"
)

func exerciseHolds(t *testing.T, s *Store, c exportops.Checkpoint, name func(string)) {
	ctx, user, no := t.Context(), exportops.NewID(), func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	e := exportops.Export{
		ExportID: exportops.NewID(), UserID: user, Timestamp: c.Now, Format: exportops.CSV, Config: []byte(`{}`), Status: exportops.Queued,
	}
	name("")
	_, err := s.CreateExport(ctx, e)
	no(err)
	h := exportops.Hold{Scope: exportops.HoldExport, Subject: e.ExportID, Reason: "r", PlacedBy: "p", PlacedAt: c.Now}
	name("PlaceHold")
	_, err = s.PlaceHold(ctx, h, exportops.Locator{})
	no(err)
	h.Scope, h.Subject = exportops.HoldUser, user
	name("PlaceHold of a user")
	h, err = s.PlaceHold(ctx, h, exportops.Locator{})
	no(err)
	name("LastHold")
	_, err = s.LastHold(ctx)
	no(err)
	name("HeldRows")
	for _, err := range s.HeldRows(ctx, h.ID) {
		no(err)
	}
	name("Holds")
	_, err = s.Holds(ctx, exportops.HoldFilter{Before: 9})
	no(err)
	name("Holds of a user")
	_, err = s.Holds(ctx, exportops.HoldFilter{Scope: exportops.HoldUser, Subject: user})
	no(err)
	name("ReleaseHold")
	_, err = s.ReleaseHold(ctx, h.ID, "p", c.Now)
	no(err)
	name("ForgetHolds")
	_, err = s.ForgetHolds(ctx, c, c.Now, 9)
	no(err)
	name("")
}
