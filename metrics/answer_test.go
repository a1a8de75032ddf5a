package metrics_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/metrics"
)

func TestAnEmptyAggregateHasNoNulls(t *testing.T) {
	e := &events{}
	m, _ := openService(t, e, 0)
	got, err := m.AnnounceAggregate(t.Context(), exportops.At(noon.Add(-time.Hour)), noon, exportops.Hourly)
	must(t, err)
	b, err := json.Marshal(got)
	must(t, err)
	if strings.Contains(string(b), "null") || !strings.Contains(string(b), `"exports_per_user":{}`) {
		t.Fatalf("%s", b)
	}
	if len(e.all) != 1 || e.all[0] != "aggregated_metrics "+string(b) {
		t.Fatalf("events %q", e.all)
	}
	for name, span := range map[string][2]exportops.Time{
		"empty": {noon, noon}, "backwards": {noon, exportops.At(noon.Add(-1 * time.Hour))},
		"absurd": {mustTime("0001-01-01T00:00:00.000Z"), mustTime("9999-12-31T00:00:00.000Z")},
	} {
		if _, err := m.Aggregate(t.Context(), span[0], span[1], exportops.Daily); !exportops.IsKind(err, exportops.KindInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFailureRate(t *testing.T) {
	for name, c := range map[string]struct {
		failed, completed int
		want              *exportops.FailureRate
		events            []string
	}{
		"nothing_finished": {0, 0, nil, nil},
		"at_the_threshold": {1, 9, &exportops.FailureRate{FailureRate: 0.1, FailedCount: 1, TotalCount: 10, Threshold: 0.1}, nil},
		"above": {
			3, 17, &exportops.FailureRate{Alert: true, FailureRate: 0.15, FailedCount: 3, TotalCount: 20, Threshold: 0.1},
			[]string{`export_failure_alert {"alert":true,"failure_rate":0.15,"failed_count":3,"total_count":20,"threshold":0.1,` +
				`"severity":"high","message":"Export failure rate (15.00%) exceeds threshold (10%)"}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			quiet, s := openService(t, nil, 0)
			batch := make([]exportops.Metric, c.failed+c.completed+2)
			for i := range batch {
				batch[i] = aMetric()
				if i < c.failed {
					batch[i].Status = exportops.Failed
				}
			}
			batch[len(batch)-2].Status = exportops.Processing                         // does not count
			batch[len(batch)-1].Timestamp = exportops.At(noon.Add(-61 * time.Minute)) // nor does this
			_, err := quiet.Record(t.Context(), batch)
			must(t, err)
			e := &events{}
			m := metrics.New(s, metrics.Options{Events: e, Now: fixed})
			got, err := m.AnnounceFailureRate(t.Context(), 60)
			must(t, err)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Fatalf("(-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.events, e.all); d != "" {
				t.Fatalf("events (-want +got):\n%s", d)
			}
		})
	}
	m, _ := openService(t, nil, 0)
	if _, err := m.FailureRate(t.Context(), 0); !exportops.IsKind(err, exportops.KindInvalid) {
		t.Fatalf("no minutes: %v", err)
	}
}

func TestVolumeCountsExactlyThePeriodsThatEndNow(t *testing.T) {
	e := &events{}
	m, _ := openService(t, e, 0)
	var batch []exportops.Metric
	for _, at := range []string{
		"2025-10-28T23:59:59.999Z", "2025-10-29T00:00:00.000Z", "2025-10-29T23:59:59.999Z", "2025-10-31T00:00:00.000Z", "2025-10-31T11:59:00.000Z",
	} {
		x := aMetric()
		x.Timestamp = mustTime(at)
		batch = append(batch, x)
	}
	_, err := m.Record(t.Context(), batch)
	must(t, err)
	e.all = nil
	check := func() {
		t.Helper()
		got, err := m.Volume(t.Context(), "", 3)
		must(t, err)
		want := exportops.Volume{
			Period: exportops.Daily, Days: 3, TotalExports: 4, AvgPerPeriod: 4.0 / 3, PeakPeriod: &exportops.PeriodCount{Period: "2025-10-29", Count: 2},
			VolumeData: []exportops.PeriodCount{{Period: "2025-10-29", Count: 2}, {Period: "2025-10-30"}, {Period: "2025-10-31", Count: 2}},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
	}
	check()
	if _, err := m.Roll(t.Context(), exportops.At(noon.Add(30*time.Hour))); err != nil {
		t.Fatal(err)
	}
	check()
	got, err := m.AnnounceVolume(t.Context(), exportops.Hourly, 1)
	must(t, err)
	if len(got.VolumeData) != 24 || got.VolumeData[0].Period != "2025-10-30T13" || got.VolumeData[23].Period != "2025-10-31T12" || got.TotalExports != 2 {
		t.Fatalf("%+v", got)
	}
	if len(e.all) != 1 || !strings.HasPrefix(e.all[0], `export_volume {"period":"hourly","days":1,"total_exports":2,`) {
		t.Fatalf("events %q", e.all)
	}
	for _, days := range []int{0, -1, 3661} {
		if _, err := m.Volume(t.Context(), exportops.Daily, days); !exportops.IsKind(err, exportops.KindInvalid) {
			t.Errorf("%d days: %v", days, err)
		}
	}
}

func TestPlan(t *testing.T) {
	at := func(s string) exportops.Time { return mustTime("2025-10-" + s + ":00.000Z") }
	span := func(from, to string) exportops.Span { return exportops.Span{From: at(from), To: at(to)} }
	now := at("31T12:00")
	clean := func(s string) exportops.HourState { return exportops.HourState{Start: at(s), Clean: true} }
	with := func(h exportops.HourState, change func(*exportops.HourState)) exportops.HourState {
		change(&h)
		return h
	}
	open := func(h *exportops.HourState) { h.Open = 1 }
	for name, c := range map[string]struct {
		span   exportops.Span
		days   []exportops.Time
		hours  []exportops.HourState
		want   exportops.ReadPlan
		widens exportops.Span
	}{
		"never_rolled": {span: span("31T10:20", "31T11:00"), want: exportops.ReadPlan{Rows: []exportops.Span{span("31T10:20", "31T11:00")}}},
		"days_then_hours_then_rows": {
			span: span("28T00:00", "31T12:00"), days: []exportops.Time{at("28T00:00"), at("29T00:00"), at("30T00:00")},
			hours: []exportops.HourState{clean("31T00:00"), clean("31T01:00"), {Start: at("31T02:00")}, clean("31T03:00")},
			want: exportops.ReadPlan{
				Days:  []exportops.Span{span("28T00:00", "31T00:00")},
				Hours: []exportops.Span{span("31T00:00", "31T02:00"), span("31T03:00", "31T04:00")},
				Rows:  []exportops.Span{span("31T02:00", "31T03:00"), span("31T04:00", "31T12:00")},
			},
		},
		"part_of_a_day_is_not_its_rollup": {
			span: span("30T01:00", "31T00:00"), days: []exportops.Time{at("30T00:00")},
			want: exportops.ReadPlan{Rows: []exportops.Span{span("30T01:00", "31T00:00")}},
		},
		"an_hour_with_exports_under_way_is_rows_for_a_day": {
			span:  span("30T10:00", "31T12:00"),
			hours: []exportops.HourState{with(clean("30T10:00"), open), with(clean("30T11:00"), open), with(clean("31T10:00"), open), clean("31T11:00")},
			want: exportops.ReadPlan{
				Hours: []exportops.Span{span("30T10:00", "30T12:00"), span("31T11:00", "31T12:00")},
				Rows:  []exportops.Span{span("30T12:00", "31T11:00")},
			},
		},
		"an_hour_that_is_not_over": {
			span: span("31T12:00", "31T13:00"), hours: []exportops.HourState{clean("31T12:00")},
			want: exportops.ReadPlan{Rows: []exportops.Span{span("31T12:00", "31T13:00")}},
		},
		"bounds_in_sealed_hours_widen": {
			span: span("30T10:20", "31T12:20"),
			hours: []exportops.HourState{
				with(clean("30T10:00"), func(h *exportops.HourState) { h.Sealed = true }),
				with(clean("31T12:00"), func(h *exportops.HourState) { h.Sealed = true }),
			},
			want: exportops.ReadPlan{
				Hours: []exportops.Span{span("30T10:00", "30T11:00"), span("31T12:00", "31T13:00")},
				Rows:  []exportops.Span{span("30T11:00", "31T12:00")},
			},
			widens: span("30T10:00", "31T13:00"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, covered := metrics.Plan(c.span, c.days, c.hours, now)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if c.widens == (exportops.Span{}) {
				c.widens = c.span
			}
			if d := cmp.Diff(c.widens, covered); d != "" {
				t.Errorf("covers (-want +got):\n%s", d)
			}
		})
	}
}

func TestRollStopsWhereItsTimeEnds(t *testing.T) {
	m, s := openService(t, nil, 0)
	old := aMetric()
	old.Timestamp = mustTime("2024-03-01T05:00:00.000Z")
	_, err := m.Record(t.Context(), []exportops.Metric{aMetric(), old})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	now := exportops.At(noon.Add(time.Hour))
	if r, err := m.Roll(ctx, now); err != nil || r.Complete {
		t.Fatalf("%+v %v, want it incomplete and no error", r, err)
	}
	r, err := m.Roll(t.Context(), now)
	must(t, err)
	if d := cmp.Diff(metrics.Rolled{HoursClosed: 2, Complete: true}, r); d != "" {
		t.Fatal(d)
	}
	if r, err := m.Roll(t.Context(), now); err != nil || r.HoursClosed != 0 || !r.Complete {
		t.Fatalf("again: %+v %v", r, err)
	}
	// The gap is longer than what is filled; the days around it are whole.
	states, err := s.HourStates(t.Context(), exportops.Span{From: mustTime("2024-01-01T00:00:00.000Z"), To: now})
	must(t, err)
	if len(states) != 24+13 {
		t.Fatalf("%d hours have a state", len(states))
	}
}

func TestSketchTakesValuesOut(t *testing.T) {
	s := metrics.NewSketch()
	for v := range int64(1000) {
		s.Add(v)
		s.Add(1 << 40)
	}
	for range 1000 {
		s.Remove(1 << 40)
	}
	again := metrics.NewSketch()
	must(t, again.MergeEncoded(s.Encode()))
	for _, q := range []float64{0, 0.5, 0.95, 0.99, 1} {
		want := float64(int(q * 999))
		for _, got := range []float64{s.Quantile(q), again.Quantile(q)} {
			if got < want*0.99 || got > want*1.01 {
				t.Errorf("quantile %v is %v, want %v", q, got, want)
			}
		}
	}
	if s.Count() != 1000 || again.Count() != 1000 {
		t.Fatalf("%d and %d values", s.Count(), again.Count())
	}
}

func TestADamagedSketchIsAnError(t *testing.T) {
	s := metrics.NewSketch()
	s.Add(7)
	cell := exportops.Cell{Completed: 2, Duration: exportops.Measure{Count: 2, Sum: 14, Max: 7, Sketch: s.Encode()}}
	if err := metrics.ApplyDelta(&cell, nil, nil); err == nil {
		t.Fatal("a sketch of one value passed for one of two")
	}
}
