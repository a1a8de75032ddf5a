package cleanup_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
	"github.com/exportops/exportops/sqlite"
)

// keep makes a policy whose default lets log rows go after thirty days.
func keep(t testing.TB, rules ...exportops.Rule) *exportops.Policy {
	t.Helper()
	p, err := exportops.NewPolicy(exportops.KeepFor(day), exportops.KeepFor(30*day), rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// policyWorld is a world whose store reads what the policy asks for.
func policyWorld(t testing.TB, p *exportops.Policy) *testworld.World {
	t.Helper()
	w := newWorld(t)
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(w.Dir, "exportops.db"), ConfigKeys: p.ConfigKeys()})
	w.Must(err)
	t.Cleanup(func() { w.Must(s.Close()) })
	w.Store = s
	return w
}

func under(p *exportops.Policy) func(*jobs.Options) {
	return func(o *jobs.Options) { o.Policy, o.LogRetention = p, p.ShortestLogs().OrCentury() }
}

func cleanUnder(t testing.TB, w *testworld.World, p *exportops.Policy, change ...func(*jobs.Request)) exportops.LogCleanupResult {
	t.Helper()
	req := jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron}
	for _, c := range change {
		c(&req)
	}
	dry := req
	dry.DryRun = true
	told, err := w.Runner(under(p)).Run(t.Context(), dry)
	w.Must(err)
	a, err := w.Runner(under(p)).Run(t.Context(), req)
	w.Must(err)
	if a, b := told.Result.Logs, a.Result.Logs; a.WouldDelete != b.DeletedCount || a.KeptByPolicy != b.KeptByPolicy || a.TotalFound != b.TotalFound {
		t.Errorf("the dry run says %+v, and what is done is %+v", a, b)
	}
	return *a.Result.Logs
}

func days(n int) func(*jobs.Request) { return func(r *jobs.Request) { r.RetentionDays = &n } }

func left(w *testworld.World) int64 { return w.Count(`SELECT count(*) FROM export_logs`) }

func TestLogCleanupUnderAPolicy(t *testing.T) {
	match := func(m exportops.Match, logs exportops.Retention) exportops.Rule {
		return exportops.Rule{Name: "the rule", Match: m, Files: exportops.Never, Logs: logs}
	}
	csv := exportops.Match{Formats: []exportops.Format{exportops.CSV}}
	all := exportops.Match{Config: map[string][]any{"scope": {"all"}}}
	for name, c := range map[string]struct {
		rule   exportops.Rule
		age    time.Duration
		config string
		change []func(*jobs.Request)
		want   string // of the one row
	}{
		"keeps_what_a_rule_keeps_for_longer":           {match(csv, exportops.KeepFor(365*day)), 31 * day, "{}", nil, "kept"},
		"lets_it_go_in_the_end":                        {match(csv, exportops.KeepFor(365*day)), 366 * day, "{}", nil, "gone"},
		"lets_it_go_earlier_than_the_default":          {match(csv, exportops.KeepFor(2*day)), 3 * day, "{}", nil, "gone"},
		"never_means_never":                            {match(csv, exportops.Never), 20000 * day, "{}", nil, "kept"},
		"keeps_by_a_key_of_the_config":                 {match(all, exportops.Never), 31 * day, `{"scope":"all"}`, nil, "kept"},
		"lets_another_value_go_by_default":             {match(all, exportops.Never), 31 * day, `{"scope":"one"}`, nil, "gone"},
		"lets_an_unreadable_config_go_by_default":      {match(all, exportops.Never), 31 * day, `{"scope":"all"`, nil, "gone"},
		"days_of_the_caller_never_shorten_the_policy":  {match(csv, exportops.KeepFor(365*day)), 31 * day, "{}", []func(*jobs.Request){days(1)}, "kept"},
		"days_of_the_caller_keep_for_longer":           {match(csv, exportops.KeepFor(2*day)), 31 * day, "{}", []func(*jobs.Request){days(60)}, "not found"},
		"both_allow":                                   {match(csv, exportops.KeepFor(2*day)), 61 * day, "{}", []func(*jobs.Request){days(60)}, "gone"},
		"a_users_own_cleanup_takes_every_age":          {match(csv, exportops.Never), day, "{}", []func(*jobs.Request){ofUser(testworld.User)}, "gone"},
		"where_all_is_never_nothing_of_any_age_is_due": {exportops.Rule{}, 40000 * day, "{}", nil, "kept"},
	} {
		t.Run(name, func(t *testing.T) {
			var rules []exportops.Rule
			logs := exportops.Never
			if c.rule.Name != "" {
				rules, logs = append(rules, c.rule), exportops.KeepFor(30*day)
			}
			p, err := exportops.NewPolicy(exportops.Never, logs, rules)
			if err != nil {
				t.Fatal(err)
			}
			w := policyWorld(t, p)
			w.Insert(row{ExportID: id(1), Status: exportops.Failed, Format: "csv", Timestamp: w.Ago(c.age)})
			w.Exec(`UPDATE export_logs SET config = ?`, c.config)
			r := cleanUnder(t, w, p, c.change...)
			switch {
			case c.want == "gone" && (left(w) != 0 || r.DeletedCount != 1):
				t.Errorf("it is still there: %+v", r)
			case c.want == "kept" && (left(w) != 1 || r.KeptByPolicy != 1 || r.TotalFound != 1):
				t.Errorf("it is not kept, or not told: %+v", r)
			case c.want == "not found" && (left(w) != 1 || r.TotalFound != 0):
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestPolicyKeepsTheFilesOfTheRowsItKeeps(t *testing.T) {
	p := keep(t, exportops.Rule{
		Name: "kept", Match: exportops.Match{Config: map[string][]any{"scope": {"all"}}}, Files: exportops.Never, Logs: exportops.Never,
	})
	w := policyWorld(t, p)
	for n, config := range []string{`{"scope":"all"}`, `{}`} {
		url := id(n)
		w.Insert(row{ExportID: id(n), Status: exportops.Failed, URL: url, Timestamp: w.Ago(40 * day)})
		w.Exec(`UPDATE export_logs SET config = ? WHERE export_id = ?`, config, id(n))
		w.Write(url, "x")
	}
	r := cleanUnder(t, w, p)
	wantKeys(t, w, id(0))
	if r.DeletedCount != 1 || r.KeptByPolicy != 1 || r.FilesDeleted != 1 {
		t.Errorf("%+v", r)
	}
}

func TestStatisticsUnderAPolicy(t *testing.T) {
	p := keep(t, exportops.Rule{Name: "kept", Match: exportops.Match{Formats: []exportops.Format{exportops.CSV}}, Files: exportops.Never, Logs: exportops.Never})
	w := policyWorld(t, p)
	for n, format := range []string{"csv", "csv", "json", "json"} {
		w.Insert(row{ExportID: id(n), Status: exportops.Failed, Format: format, Timestamp: w.Ago(time.Duration(31+30*(n%2)) * day)})
	}
	w.Insert(row{ExportID: id(9), Status: exportops.Queued, Format: "json", Timestamp: w.Ago(31 * day)})
	s := cleanup.Statistics{Store: w.Store, Policy: p, Now: w.Clock.Now}
	whole, err := w.Store.LogStatistics(t.Context(), exportops.At(w.Clock.Now().Add(-30*day)))
	w.Must(err)
	for ago, n := range map[time.Duration]int64{0: 2, 30 * day: 2, 60 * day: 1, 90 * day: 0} {
		got, err := s.LogStatistics(t.Context(), exportops.At(w.Clock.Now().Add(-ago)))
		w.Must(err)
		if got.EligibleForCleanup != n {
			t.Errorf("older than %s: %d, want %d", ago, got.EligibleForCleanup, n)
		}
		if ago == 0 && got.TotalSizeEstimateMB*2 != whole.TotalSizeEstimateMB {
			t.Errorf("estimated at %v MB of %v", got.TotalSizeEstimateMB, whole.TotalSizeEstimateMB)
		}
	}
}

// TestMetricsWithoutARowStayAsLongAsAnyRow: no rule can be told for them.
func TestMetricsWithoutARowStayAsLongAsAnyRow(t *testing.T) {
	for name, c := range map[string]struct {
		logs exportops.Retention
		want int64
	}{"longer": {exportops.KeepFor(90 * day), 1}, "never": {exportops.Never, 1}, "shorter": {exportops.KeepFor(7 * day), 0}} {
		t.Run(name, func(t *testing.T) {
			p := keep(t, exportops.Rule{Name: "r", Match: exportops.Match{Formats: []exportops.Format{exportops.CSV}}, Files: exportops.Never, Logs: c.logs})
			w := policyWorld(t, p)
			took := int64(5)
			receipts, err := w.Metrics().Record(t.Context(), []exportops.Metric{{
				ExportID: exportops.NewID(), UserID: testworld.User, Format: exportops.JSON, Status: exportops.Completed, Attempt: 1,
				DurationMS: &took, FileSizeBytes: &took,
				Timestamp: exportops.At(w.Clock.Now().Add(-40 * day)),
			}})
			w.Must(err)
			w.Must(receipts[0].Err)
			_, err = w.Metrics().RollBefore(t.Context(), w.Clock.At(), w.Clock.At())
			w.Must(err)
			cleanUnder(t, w, p)
			if n := w.Count(`SELECT count(*) FROM exportops_export_metrics`); n != c.want {
				t.Errorf("%d metrics are left, want %d", n, c.want)
			}
		})
	}
}

func TestRunsUnderAnotherPolicyAreOtherRuns(t *testing.T) {
	p := keep(t)
	q := keep(t, exportops.Rule{Name: "r", Match: exportops.Match{Formats: []exportops.Format{exportops.CSV}}, Files: exportops.Never, Logs: exportops.Never})
	w := newWorld(t)
	req := jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron, IdempotencyKey: "k"}
	first, err := w.Runner(under(p)).Run(t.Context(), req)
	w.Must(err)
	want(t, "parameters", string(first.Run.Params), `{"policy":"`+p.Hash()+`"}`)
	again, err := w.Runner(under(p)).Run(t.Context(), req)
	if err != nil || again.Beginning != exportops.Replayed {
		t.Errorf("the same is %s, %v", again.Beginning, err)
	}
	if _, err := w.Runner(under(q)).Run(t.Context(), req); !exportops.IsKind(err, exportops.KindConflict) {
		t.Errorf("under another policy: %v", err)
	}
}
