package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testUpdates(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("each_field_alone", func(t *testing.T) { updateFields(t, open(t)) })
	t.Run("an_expiry_is_given_to_what_completes_without_one", func(t *testing.T) { updateExpiry(t, open) })
	t.Run("once_its_file_is_settled_an_export_may_change", func(t *testing.T) {
		f := open(t)
		r := due(after(noon, -time.Hour))
		f.Insert(t, r)
		_, fence := begin(t, f, exportops.Started)
		c := claim(t, f, fence).Claims[0]
		update := func() error {
			_, err := f.Store.UpdateExport(t.Context(), r.ExportID, exportops.ExportUpdate{FileSize: ptr(int64(1))}, nil, noon)
			return err
		}
		wantKind(t, update(), exportops.KindConflict, "")
		settleOne(t, f, fence, exportops.Settlement{Claim: c, State: exportops.DeletionFailed})
		must(t, update())
	})
	t.Run("a_row_of_another_id_is_untouched", func(t *testing.T) {
		f := open(t)
		r, other := Row{}.Complete(noon), Row{}.Complete(noon)
		f.Insert(t, r, other)
		before, err := f.Store.Export(t.Context(), other.ExportID)
		must(t, err)
		failed := exportops.Failed
		_, err = f.Store.UpdateExport(t.Context(), r.ExportID, exportops.ExportUpdate{Status: &failed, ErrorMessage: ptr("E: x")}, exportops.ExpiresAt(noon), noon)
		must(t, err)
		got, err := f.Store.Export(t.Context(), other.ExportID)
		must(t, err)
		if d := cmp.Diff(before, got); d != "" {
			t.Fatal(d)
		}
	})
	t.Run("an_id_of_another_row_is_a_conflict", func(t *testing.T) {
		f := open(t)
		e := exportOf(noon)
		created, err := f.Store.CreateExport(t.Context(), e)
		must(t, err)
		other := exportOf(noon)
		other.ID = created.ID
		_, err = f.Store.CreateExport(t.Context(), other)
		wantKind(t, err, exportops.KindConflict, "")
	})
	t.Run("a_page_has_its_bounds", func(t *testing.T) {
		f := open(t)
		for range exportops.MaxPage + 3 {
			f.Insert(t, Row{}.Complete(noon))
		}
		for limit, want := range map[int]int{0: exportops.DefaultPage, 1: 1, exportops.MaxPage: exportops.MaxPage, exportops.MaxPage + 1: exportops.MaxPage} {
			page, next, err := f.Store.Exports(t.Context(), exportops.ExportFilter{Limit: limit})
			must(t, err)
			if len(page) != want || next == "" {
				t.Fatalf("limit %d gives %d exports and the cursor %q, want %d and more", limit, len(page), next, want)
			}
		}
	})
}

func updateFields(t *testing.T, f Fixture) {
	e := exportOf(noon)
	want, err := f.Store.CreateExport(t.Context(), e)
	must(t, err)
	processing, expiry := exportops.Processing, after(noon, 72*time.Hour)
	for i, step := range []struct {
		update exportops.ExportUpdate
		change func()
	}{
		{exportops.ExportUpdate{}, func() {}},
		{exportops.ExportUpdate{Status: &processing}, func() { want.Status = processing }},
		{exportops.ExportUpdate{ConversationCount: ptr(int64(0))}, func() { want.ConversationCount = 0 }},
		{exportops.ExportUpdate{FileSize: ptr(int64(1) << 40)}, func() { want.FileSize = ptr(int64(1) << 40) }},
		{exportops.ExportUpdate{FileURL: ptr("'; --")}, func() { want.FileURL = ptr("'; --") }},
		{exportops.ExportUpdate{ExpiresAt: &expiry}, func() { want.ExpiresAt = &expiry }},
		{exportops.ExportUpdate{ErrorMessage: ptr("")}, func() { want.ErrorMessage = ptr("") }},
		{exportops.ExportUpdate{DownloadedCount: ptr(int64(3))}, func() { want.DownloadedCount = 3 }},
	} {
		now := after(noon, time.Duration(i+1)*time.Second)
		got, err := f.Store.UpdateExport(t.Context(), e.ExportID, step.update, nil, now)
		must(t, err)
		step.change()
		want.UpdatedAt = now
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("step %d (-want +got):\n%s", i, d)
		}
		read, err := f.Store.Export(t.Context(), e.ExportID)
		must(t, err)
		if d := cmp.Diff(want, read); d != "" {
			t.Fatalf("step %d, read again (-want +got):\n%s", i, d)
		}
	}
}

func updateExpiry(t *testing.T, open func(testing.TB) Fixture) {
	completed, failed := exportops.Completed, exportops.Failed
	day, own := after(noon, 24*time.Hour), after(noon, time.Hour)
	past := after(noon, -time.Hour)
	over, always := past.String(), exportops.ExpiresAt(day)
	// What a policy may look at is the row as the update leaves it.
	large := func(e exportops.Export) *exportops.Time {
		if e.Status == completed && *e.FileSize > 10 && e.Format == exportops.CSV && string(e.Config) != "" && *e.FileURL == "b" {
			return &day
		}
		return &own
	}
	never := func(exportops.Export) *exportops.Time { return nil }
	for name, c := range map[string]struct {
		row    Row
		update exportops.ExportUpdate
		expiry exportops.ExpiryOf
		want   *exportops.Time
	}{
		"completed":       {Row{Status: "queued"}, exportops.ExportUpdate{Status: &completed}, always, &day},
		"with_its_own":    {Row{Status: "queued"}, exportops.ExportUpdate{Status: &completed, ExpiresAt: &own}, always, &own},
		"the_row_has_one": {Row{Status: "queued", ExpiresAt: ptr(own.String())}, exportops.ExportUpdate{Status: &completed}, always, &own},
		// It is of a file that was there before: the new one would be deleted at once.
		"the_row_has_had_one":  {Row{Status: "processing", ExpiresAt: &over}, exportops.ExportUpdate{Status: &completed}, always, &day},
		"one_that_ends_now":    {Row{Status: "expired", ExpiresAt: ptr(noon.String())}, exportops.ExportUpdate{Status: &completed}, always, &day},
		"never_after_one":      {Row{Status: "failed", ExpiresAt: &over}, exportops.ExportUpdate{Status: &completed}, never, nil},
		"its_own_after_one":    {Row{Status: "failed", ExpiresAt: &over}, exportops.ExportUpdate{Status: &completed, ExpiresAt: &own}, always, &own},
		"completed_and_over":   {Row{Status: "completed", ExpiresAt: &over}, exportops.ExportUpdate{Status: &completed}, always, &past},
		"none_given_after_one": {Row{Status: "failed", ExpiresAt: &over}, exportops.ExportUpdate{Status: &completed}, nil, &past},
		"it_failed_after_one":  {Row{Status: "processing", ExpiresAt: &over}, exportops.ExportUpdate{Status: &failed}, always, &past},
		"none_is_to_be_given":  {Row{Status: "queued"}, exportops.ExportUpdate{Status: &completed}, nil, nil},
		"by_what_the_row_says": {
			Row{Status: "queued", Format: "csv", FileSize: ptr(int64(1)), FileURL: ptr("a")},
			exportops.ExportUpdate{Status: &completed, FileSize: ptr(int64(11)), FileURL: ptr("b")},
			large, &day,
		},
		"never":                 {Row{Status: "queued"}, exportops.ExportUpdate{Status: &completed}, never, nil},
		"tried_again":           {Row{Status: "failed"}, exportops.ExportUpdate{Status: &completed}, always, &day},
		"completed_for_good":    {Row{Status: "completed"}, exportops.ExportUpdate{Status: &completed}, always, nil},
		"it_failed":             {Row{Status: "queued"}, exportops.ExportUpdate{Status: &failed}, always, nil},
		"it_was_completed":      {Row{Status: "completed"}, exportops.ExportUpdate{FileSize: ptr(int64(1))}, always, nil},
		"its_own_while_running": {Row{Status: "queued"}, exportops.ExportUpdate{ExpiresAt: &own}, always, &own},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			r := c.row.Complete(noon)
			f.Insert(t, r)
			got, err := f.Store.UpdateExport(t.Context(), r.ExportID, c.update, c.expiry, noon)
			must(t, err)
			if d := cmp.Diff(c.want, got.ExpiresAt); d != "" {
				t.Fatalf("expiry (-want +got):\n%s", d)
			}
		})
	}
}
