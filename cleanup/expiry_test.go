package cleanup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// expiryPolicy keeps files of markdown for good, those of csv for two days, and all
// others for ten.
func expiryPolicy(t testing.TB) *exportops.Policy {
	t.Helper()
	p, err := exportops.NewPolicy(exportops.KeepFor(10*day), exportops.KeepFor(300*day), []exportops.Rule{
		{Name: "for good", Match: exportops.Match{Formats: []exportops.Format{exportops.Markdown}}, Files: exportops.Never, Logs: exportops.Never},
		{Name: "brief", Match: exportops.Match{Formats: []exportops.Format{exportops.CSV}}, Files: exportops.KeepFor(2 * day), Logs: exportops.KeepFor(30 * day)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// promised inserts an export of four days ago, with an expiry so long after it; the
// others promise never.
func promised(w *testworld.World, n int, format exportops.Format, after time.Duration) {
	w.Helper()
	r := row{ExportID: id(n), URL: fmt.Sprintf("f%d", n), Format: string(format), Expires: never}
	if after != 0 {
		r.Expires = w.Ago(4*day - after)
	}
	w.Insert(r)
	w.Write(r.URL, "content")
}

func expiryPlan(t testing.TB, w *testworld.World, p *exportops.Policy) []byte {
	t.Helper()
	var out bytes.Buffer
	a, err := w.Runner(under(p)).Run(t.Context(), jobs.Request{Job: exportops.RetentionApply, DryRun: true, PlanOut: &out})
	w.Must(err)
	wantExpirySum(t, *a.Result.Expiry)
	return out.Bytes()
}

func applyExpiries(t testing.TB, w *testworld.World, p *exportops.Policy, plan []byte) exportops.ExpiryResult {
	t.Helper()
	a, err := w.Runner(under(p)).Run(t.Context(), jobs.Request{Job: exportops.RetentionApply, Trigger: exportops.ByCommand, Plan: readPlan(t, plan)})
	w.Must(err)
	wantExpirySum(t, *a.Result.Expiry)
	return *a.Result.Expiry
}

func wantExpirySum(t testing.TB, r exportops.ExpiryResult) {
	t.Helper()
	was := r.TotalFound
	if r.SumUp(); r.TotalFound != was {
		t.Errorf("total_found is %d, and its parts add up to %d", was, r.TotalFound)
	}
	if r.ChangedCount+r.WouldChange != r.Earlier+r.Later+r.Set+r.Removed {
		t.Errorf("the kinds do not add up to what was changed: %+v", r)
	}
}

func expiryCounts(r exportops.ExpiryResult) string {
	var parts []string
	for _, c := range []struct {
		name string
		n    int64
	}{
		{"would", r.WouldChange},
		{"earlier", r.Earlier},
		{"later", r.Later},
		{"set", r.Set},
		{"removed", r.Removed},
		{"due", r.DueAtOnce},
		{"moved", r.MovedOn},
		{"held", r.KeptHeld},
		{"claimed", r.KeptClaimed},
		{"unreadable", r.KeptUnreadable},
		{"unchanged", r.Unchanged},
		{"remaining", r.Remaining},
	} {
		if c.n != 0 {
			parts = append(parts, fmt.Sprintf("%s %d", c.name, c.n))
		}
	}
	return strings.Join(parts, " ")
}

func expiries(w *testworld.World) []string {
	return w.Strings(`SELECT coalesce(expires_at, 'never') FROM export_logs ORDER BY export_id`)
}

func TestAPlanOfExpiries(t *testing.T) {
	p := expiryPolicy(t)
	w := policyWorld(t, p)
	promised(w, 1, exportops.CSV, 20*day)                 // earlier, and past by now
	promised(w, 2, exportops.JSON, 20*day)                // earlier
	promised(w, 3, exportops.JSON, 5*day)                 // later
	promised(w, 4, exportops.JSON, 0)                     // set
	promised(w, 5, exportops.Markdown, 5*day)             // removed
	promised(w, 6, exportops.Markdown, 0)                 // as it is
	promised(w, 7, exportops.JSON, 10*day+14*time.Minute) // as it was when it was completed
	w.Insert(row{ExportID: id(8), Status: exportops.Failed}, row{ExportID: id(9), Expires: "soon"})
	before, files := expiries(w), w.Keys()
	plan := expiryPlan(t, w, p)
	want(t, "a plan changes nothing", expiries(w), before)
	totals := readPlan(t, plan).Totals
	if totals.Earlier != 2 || totals.Later != 1 || totals.Set != 1 || totals.Removed != 1 || totals.DueAtOnce != 1 || totals.Keep != 1 {
		t.Fatalf("%+v", totals)
	}
	got := map[string]string{}
	for e, err := range readPlan(t, plan).ExpiryEntries() {
		w.Must(err)
		got[e.ExportID] = strings.TrimSpace(e.Do + " " + string(e.Why) + " " + e.Rule)
	}
	want(t, "entries", got, map[string]string{
		id(1): "earlier  brief", id(2): "earlier  default", id(3): "later  default", id(4): "set  default", id(5): "removed  for good",
		id(9): "keep unreadable default",
	})

	res := applyExpiries(t, w, p, plan)
	want(t, "result", expiryCounts(res), "earlier 2 later 1 set 1 removed 1 due 1")
	after := expiries(w)
	want(t, "expiries", after[:5], []string{w.Ago(2 * day), w.Ago(-6 * day), w.Ago(-6 * day), w.Ago(-6 * day), "never"})
	want(t, "the others", after[5:], before[5:])
	want(t, "files", w.Keys(), files)
	want(t, "applied again", expiryCounts(applyExpiries(t, w, p, plan)), "")
	want(t, "runs", w.Count(`SELECT count(*) FROM exportops_runs WHERE job = 'retention-apply' AND params LIKE '%"plan":"_%' AND params LIKE '%"policy":"_%'`), int64(2))
	want(t, "an event", len(w.Events.Of(exportops.EventRetentionApplied)), 2)

	want(t, "the next cleanup", counts(clean(t, w)), "found 1 deleted 1 updated 1")
}

func TestAnExpiryIsLeftAlone(t *testing.T) {
	for name, x := range map[string]struct {
		meanwhile func(testing.TB, *testworld.World)
		want      string
	}{
		"when_it_was_changed": {func(_ testing.TB, w *testworld.World) {
			w.Exec(`UPDATE export_logs SET expires_at = ?`, w.Ago(-50*day))
		}, "moved 1"},
		"when_it_names_another_file":  {func(_ testing.TB, w *testworld.World) { w.Exec(`UPDATE export_logs SET file_url = 'other'`) }, "moved 1"},
		"when_it_failed":              {func(_ testing.TB, w *testworld.World) { w.Exec(`UPDATE export_logs SET status = 'failed'`) }, "moved 1"},
		"when_another_rule_is_for_it": {func(_ testing.TB, w *testworld.World) { w.Exec(`UPDATE export_logs SET format = 'csv'`) }, "moved 1"},
		"when_it_is_gone":             {func(_ testing.TB, w *testworld.World) { w.Exec(`DELETE FROM export_logs`) }, "moved 1"},
		"when_it_is_held":             {func(t testing.TB, w *testworld.World) { hold(t, w, exportops.HoldExport, id(1)) }, "held 1"},
		"when_all_is_held":            {func(t testing.TB, w *testworld.World) { hold(t, w, exportops.HoldAll, "") }, "held 1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := expiryPolicy(t)
			w := policyWorld(t, p)
			promised(w, 1, exportops.JSON, 20*day)
			plan := expiryPlan(t, w, p)
			x.meanwhile(t, w)
			before := expiries(w)
			want(t, "result", expiryCounts(applyExpiries(t, w, p, plan)), x.want)
			want(t, "expiries", expiries(w), before)
		})
	}
}

func TestAPlanOfExpiriesIsRefused(t *testing.T) {
	p := expiryPolicy(t)
	w := policyWorld(t, p)
	promised(w, 1, exportops.JSON, 20*day)
	before, plan := expiries(w), expiryPlan(t, w, p)
	apply := func(p *exportops.Policy, change func(*jobs.Options), job exportops.Job) error {
		_, err := w.Runner(under(p), change).Run(t.Context(), jobs.Request{Job: job, Plan: readPlan(t, plan)})
		return err
	}
	none := func(*jobs.Options) {}
	wantRefused(t, apply(keep(t), none, exportops.RetentionApply)) // of another policy
	wantRefused(t, apply(p, func(o *jobs.Options) { o.Policy = nil }, exportops.RetentionApply))
	wantRefused(t, apply(p, func(o *jobs.Options) { o.Database = "another" }, exportops.RetentionApply))
	wantRefused(t, apply(p, none, exportops.FileCleanup))
	wantRefused(t, apply(p, none, exportops.UnknownCleanup))
	_, err := w.Runner().Run(t.Context(), jobs.Request{Job: exportops.RetentionApply, DryRun: true})
	if !exportops.IsKind(err, exportops.KindInvalid) {
		t.Errorf("without a policy: %v", err)
	}
	want(t, "expiries", expiries(w), before)
}

// A plan that was edited, hash and all, still does only what the policy says.
func TestAForgedPlanOfExpiries(t *testing.T) {
	for name, edit := range map[string][2]string{
		"with_another_expiry": {`"to":"2025-11-06T`, `"to":"2025-10-28T`},
		"with_another_kind":   {`"do":"earlier"`, `"do":"removed"`},
		"with_never":          {`"to":"2025-11-06T12:00:00.000Z"`, `"to":null`},
		"with_another_export": {id(1), id(2)},
		"with_another_rule":   {`"rule":"default"`, `"rule":"brief"`},
	} {
		t.Run(name, func(t *testing.T) {
			p := expiryPolicy(t)
			w := policyWorld(t, p)
			promised(w, 1, exportops.JSON, 20*day)
			promised(w, 2, exportops.JSON, 10*day)
			was, before := expiryPlan(t, w, p), expiries(w)
			plan := forged(was, edit[0], edit[1])
			if edit[1] == `"do":"removed"` {
				plan = forged(plan, `"earlier":1`, `"removed":1`)
			}
			if bytes.Equal(plan, was) {
				t.Fatalf("nothing was edited:\n%s", was)
			}
			want(t, "result", expiryCounts(applyExpiries(t, w, p, plan)), "moved 1")
			want(t, "expiries", expiries(w), before)
		})
	}
}

// changing calls changed after expiries were changed.
type changing struct {
	jobs.Store
	changed func(n int) error
	n       int
}

func (c *changing) ChangeExpiry(ctx context.Context, cp exportops.Checkpoint, changes []exportops.ExpiryChange,
	progress func([]exportops.ExpiryKept) (json.RawMessage, error),
) ([]exportops.ExpiryKept, error) {
	kept, err := c.Store.ChangeExpiry(ctx, cp, changes, progress)
	if err != nil {
		return kept, err
	}
	c.n++
	return kept, c.changed(c.n)
}

func TestAPlanOfExpiriesThatWasInterruptedGoesOn(t *testing.T) {
	p := expiryPolicy(t)
	w := policyWorld(t, p)
	for i := 1; i <= 1200; i++ {
		w.Insert(row{ExportID: id(i), Format: "json", Expires: w.Ago(-50 * day)})
	}
	plan := expiryPlan(t, w, p)
	req := jobs.Request{Job: exportops.RetentionApply, Trigger: exportops.ByCommand, Plan: readPlan(t, plan)}
	die := func(o *jobs.Options) {
		o.Store = &changing{Store: o.Store, changed: func(int) error { panic(errCrash) }}
	}
	func() {
		defer func() {
			if err, ok := recover().(error); !ok || !errors.Is(err, errCrash) {
				t.Fatalf("it did not die as planned: %v", err)
			}
		}()
		_, _ = w.Runner(under(p), die).Run(t.Context(), req)
	}()
	changed := func() int64 {
		return w.Count(`SELECT count(*) FROM export_logs WHERE expires_at = ?`, w.Ago(-6*day))
	}
	first := changed()
	if first == 0 || first == 1200 {
		t.Fatalf("%d were changed before it died", first)
	}
	at := w.Ago(-6 * day)
	w.Clock.Advance(time.Minute)
	a, err := w.Runner(under(p)).Run(t.Context(), req)
	w.Must(err)
	want(t, "how it began", a.Beginning, exportops.TookOver)
	want(t, "result", expiryCounts(*a.Result.Expiry), "earlier 1200")
	want(t, "changed", w.Count(`SELECT count(*) FROM export_logs WHERE expires_at = ?`, at), int64(1200))
}
