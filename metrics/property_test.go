package metrics_test

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/metrics"
	"github.com/exportops/exportops/sqlite"
)

// TestMain keeps the property test short; -rapid.checks makes it longer.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestAggregatesEqualABruteForceCount reports, writes, finishes, freezes,
// seals and deletes exports in random order, and compares every answer with
// one that is counted by hand.
func TestAggregatesEqualABruteForceCount(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t, outer.TempDir())
		t.Repeat(map[string]func(*rapid.T){
			"row by SQL":         m.insertRow,
			"row changes by SQL": m.changeRow,
			"export by API":      m.createExport,
			"update by API":      m.updateExport,
			"metrics":            m.record,
			"time passes":        m.advance,
			"roll":               func(t *rapid.T) { m.roll(t) },
			"log cleanup":        m.deleteOldRows,
			"":                   m.check,
		})
	})
}

// machine drives a store and keeps a model of it.
type machine struct {
	store   *sqlite.Store
	service *metrics.Service
	now     exportops.Time
	exports map[string]*export
	ids     []string
	gone    []exportops.Outcome // of exports whose rows were deleted
	sealed  bool                // some hour is: maxima may be too high
	told    bool                // no row was changed behind our back since the last roll
}

type export struct {
	row      *row
	measured []exportops.Metric
	observed []exportops.Metric
	tries    map[string]bool // keys reported
}

type row struct {
	user             string
	format           exportops.Format
	count            int64
	size             *int64
	status           exportops.Status
	message          *string
	at               exportops.Time
	created, updated exportops.Time
}

var start = mustTime("2025-10-31T00:00:00.000Z")

func mustTime(s string) exportops.Time {
	t, ok := exportops.ParseStoredTime(s)
	if !ok {
		panic(s)
	}
	return t
}

func newMachine(t *rapid.T, dir string) *machine {
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(dir, "x.db"), Create: true})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	must(t, s.Migrate(t.Context()))
	if _, err := s.Writer().Exec(`PRAGMA synchronous = OFF`); err != nil {
		t.Fatal(err)
	}
	m := &machine{store: s, now: exportops.At(start.Add(28 * time.Hour)), exports: map[string]*export{}, told: true}
	m.service = metrics.New(s, metrics.Options{Now: func() exportops.Time { return m.now }})
	return m
}

// aTime prefers the borders of hours.
func (m *machine) aTime(t *rapid.T) exportops.Time {
	hour := start.Add(time.Duration(rapid.IntRange(0, int(m.now.Sub(start.Time)/time.Hour)).Draw(t, "hour")) * time.Hour)
	within := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 29 * time.Minute, time.Hour - time.Millisecond}).Draw(t, "within")
	return exportops.At(hour.Add(within))
}

var users = []string{
	"00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002", "00000000-0000-4000-8000-000000000003",
}

func aSize(t *rapid.T) *int64 {
	return rapid.Ptr(rapid.Int64Range(0, 5_000_000), true).Draw(t, "size")
}

func (m *machine) aRow(t *rapid.T, statuses ...exportops.Status) *row {
	at := m.aTime(t)
	r := &row{
		user: rapid.SampledFrom(users).Draw(t, "user"), format: rapid.SampledFrom(exportops.Formats).Draw(t, "format"),
		count: rapid.SampledFrom([]int64{0, 99, 100, 499, 500, 999, 1000}).Draw(t, "count"), size: aSize(t),
		status: rapid.SampledFrom(statuses).Draw(t, "status"), at: at, created: at,
		// A clock that went backwards now and then.
		updated: exportops.At(at.Add(time.Duration(rapid.IntRange(-5, 9000).Draw(t, "took")) * time.Millisecond)),
	}
	if r.status == exportops.Failed {
		r.message = rapid.SampledFrom([]*string{nil, ptr("TimeoutError: late"), ptr("no type at all"), ptr("a b: c"), ptr("x:y")}).Draw(t, "message")
	}
	return r
}

func ptr[T any](v T) *T { return &v }

func (m *machine) anID(t *rapid.T, want func(*export) bool) (string, bool) {
	var ids []string
	for _, id := range m.ids {
		if e := m.exports[id]; e != nil && want(e) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return "", false
	}
	return rapid.SampledFrom(ids).Draw(t, "export"), true
}

func (m *machine) newID(t *rapid.T) string {
	// Either one of an export that has metrics and no row, or a new one.
	if id, ok := m.anID(t, func(e *export) bool { return e.row == nil }); ok && rapid.Bool().Draw(t, "known") {
		return id
	}
	id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", len(m.ids))
	m.ids = append(m.ids, id)
	m.exports[id] = &export{tries: map[string]bool{}}
	return id
}

func (m *machine) exec(t *rapid.T, query string, args ...any) {
	t.Helper()
	_, err := m.store.Writer().Exec(query, args...)
	must(t, err)
}

func (m *machine) insertRow(t *rapid.T) {
	id, r := m.newID(t), m.aRow(t, exportops.Statuses...)
	m.exports[id].row = r
	m.exec(t, `INSERT INTO export_logs (id, export_id, user_id, timestamp, format, config, conversation_count, file_size, status,
		error_message, created_at, updated_at) VALUES (?1, ?1, ?, ?, ?, '{}', ?, ?, ?, ?, ?, ?)`,
		id, r.user, r.at.String(), string(r.format), r.count, r.size, string(r.status), r.message, r.created.String(), r.updated.String())
	m.told = false
}

func (m *machine) changeRow(t *rapid.T) {
	id, ok := m.anID(t, func(e *export) bool { return e.row != nil })
	if !ok {
		t.Skip("no row")
	}
	r := m.exports[id].row
	r.status = rapid.SampledFrom(exportops.Statuses).Draw(t, "status")
	r.updated = exportops.At(r.created.Add(time.Duration(rapid.IntRange(0, 9000).Draw(t, "took")) * time.Millisecond))
	m.exec(t, `UPDATE export_logs SET status = ?, updated_at = ? WHERE export_id = ?`, string(r.status), r.updated.String(), id)
	// The trigger replaces a time that stays the same.
	m.exec(t, `UPDATE export_logs SET updated_at = '2000-01-01T00:00:00.000Z' WHERE export_id = ?`, id)
	m.exec(t, `UPDATE export_logs SET updated_at = ? WHERE export_id = ?`, r.updated.String(), id)
	m.told = false
}

func (m *machine) createExport(t *rapid.T) {
	id, r := m.newID(t), m.aRow(t, exportops.Queued, exportops.Completed, exportops.Failed)
	e := m.exports[id]
	e.row = r
	_, err := m.store.CreateExport(t.Context(), exportops.Export{
		ID: id, ExportID: id, UserID: r.user, Timestamp: r.at, Format: r.format, Config: []byte(`{}`), ConversationCount: r.count,
		FileSize: r.size, Status: r.status, ErrorMessage: r.message, CreatedAt: r.created, UpdatedAt: r.updated,
	})
	must(t, err)
	e.freeze()
}

func (m *machine) updateExport(t *rapid.T) {
	id, ok := m.anID(t, func(e *export) bool { return e.row != nil })
	if !ok {
		t.Skip("no row")
	}
	e := m.exports[id]
	status := rapid.SampledFrom([]exportops.Status{exportops.Processing, exportops.Completed, exportops.Failed}).Draw(t, "status")
	e.row.status, e.row.size = status, ptr(int64(7))
	e.row.updated = exportops.At(e.row.updated.Add(5 * time.Millisecond))
	_, err := m.store.UpdateExport(t.Context(), id, exportops.ExportUpdate{Status: &status, FileSize: e.row.size}, nil, e.row.updated)
	must(t, err)
	e.freeze()
}

func (m *machine) record(t *rapid.T) {
	var batch []exportops.Metric
	for range rapid.IntRange(1, 4).Draw(t, "metrics") {
		id, ok := m.anID(t, func(*export) bool { return true })
		if !ok || rapid.Bool().Draw(t, "new") {
			id = m.newID(t)
		}
		x := exportops.Metric{
			ExportID: id, UserID: rapid.SampledFrom(users).Draw(t, "user"), Format: rapid.SampledFrom(exportops.Formats).Draw(t, "format"),
			Status:            rapid.SampledFrom(exportops.MetricStatuses).Draw(t, "status"),
			ConversationCount: rapid.SampledFrom([]int64{0, 99, 100, 1000}).Draw(t, "count"),
			DurationMS:        ptr(rapid.Int64Range(0, 100_000).Draw(t, "duration")), FileSizeBytes: aSize(t),
			Attempt: rapid.Int64Range(1, 3).Draw(t, "attempt"), Timestamp: m.aTime(t),
		}
		if x.Status == exportops.Failed {
			x.ErrorType = rapid.SampledFrom([]*string{nil, ptr(""), ptr("QuotaError")}).Draw(t, "error")
		}
		batch = append(batch, x)
		if rapid.IntRange(0, 3).Draw(t, "twice") == 0 {
			batch = append(batch, x)
		}
	}
	receipts, err := m.service.Record(t.Context(), batch)
	must(t, err)
	for i, x := range batch {
		e := m.exports[x.ExportID]
		key := fmt.Sprint(x.Status, x.Attempt)
		if receipts[i].New == e.tries[key] {
			t.Fatalf("metric %d: new is %v, want %v", i, receipts[i].New, !e.tries[key])
		}
		if receipts[i].New {
			e.tries[key] = true
			e.measured = append(e.measured, x)
		}
	}
}

func (m *machine) advance(t *rapid.T) {
	if m.now.Sub(start.Time) > 44*time.Hour {
		t.Skip("far enough")
	}
	m.now = exportops.At(m.now.Add(time.Duration(rapid.IntRange(1, 150).Draw(t, "minutes")) * time.Minute))
}

func (m *machine) roll(t *rapid.T) {
	r, err := m.service.Roll(t.Context(), m.now)
	must(t, err)
	if !r.Complete {
		t.Fatal("the roll left something")
	}
	for _, e := range m.exports {
		e.freeze()
	}
	m.told = true
}

// deleteOldRows does what a log cleanup does, in plain SQL.
func (m *machine) deleteOldRows(t *rapid.T) {
	cut := m.aTime(t)
	r, err := m.service.RollBefore(t.Context(), cut, m.now)
	must(t, err)
	if !r.Complete {
		t.Fatal("the roll left something")
	}
	end := cut.Hour()
	if end.Before(cut.Time) {
		end = exportops.At(end.Add(time.Hour))
	}
	for _, id := range m.ids {
		e := m.exports[id]
		if e == nil || e.row == nil || !e.row.at.Before(end.Time) {
			continue
		}
		e.freeze()
		if !e.row.at.Before(cut.Time) || e.row.status.InProgress() {
			continue
		}
		var counted int
		must(t, m.store.Writer().QueryRow(`SELECT count(*) FROM exportops_export_metrics m
			JOIN exportops_rollup_hours h ON h.start = m.counted_hour
			WHERE m.export_id = ? AND m.outcome = 1 AND m.status IN ('completed', 'failed') AND m.counted_hour = ? AND h.clean = 1`,
			id, e.row.at.Hour().String()).Scan(&counted))
		if counted != 1 {
			t.Fatalf("export %s is not counted after RollBefore", id)
		}
		m.exec(t, `UPDATE exportops_rollup_hours SET sealed = 1 WHERE start = ?`, e.row.at.Hour().String())
		m.exec(t, `DELETE FROM export_logs WHERE export_id = ?`, id)
		m.exec(t, `DELETE FROM exportops_export_metrics WHERE export_id = ?`, id)
		m.gone = append(m.gone, e.outcome())
		delete(m.exports, id)
		m.sealed = true
	}
}

func (m *machine) check(t *rapid.T) {
	if !m.told {
		if !rapid.Bool().Draw(t, "roll now") {
			return
		}
		m.roll(t)
	}
	from, to := m.aTime(t), m.aTime(t)
	if to.Before(from.Time) {
		from, to = to, from
	}
	if to.Equal(from.Time) {
		to = exportops.At(m.now.Add(time.Hour))
	}
	got, err := m.service.Aggregate(t.Context(), from, to, exportops.Hourly)
	must(t, err)
	want := m.count(exportops.Span{From: got.PeriodStart, To: got.PeriodEnd})
	compare(t, got, want, m.sealed)
	m.checkWindows(t)
	if m.sealed {
		return
	}
	var rows []exportops.Outcome
	for o, err := range m.store.Outcomes(t.Context(), exportops.Span{From: from, To: to}) {
		must(t, err)
		rows = append(rows, o)
	}
	if len(rows) != int(want.TotalExports) {
		t.Fatalf("%d outcomes from rows, want %d", len(rows), want.TotalExports)
	}
	compare(t, got, summarize(rows), false)
}

// checkWindows holds windows that are read together against each read alone.
func (m *machine) checkWindows(t *rapid.T) {
	var windows []exportops.Window
	for range rapid.IntRange(1, 4).Draw(t, "windows") {
		windows = append(windows, exportops.Window{
			Last: time.Duration(rapid.IntRange(1, 100*60).Draw(t, "last")) * time.Minute,
			Only: exportops.Only{Format: rapid.SampledFrom(append(exportops.Formats[:2:2], "")).Draw(t, "format")},
		})
	}
	all, err := m.service.Figures(t.Context(), windows...)
	must(t, err)
	for i, w := range windows {
		alone, err := m.service.Figures(t.Context(), w)
		must(t, err)
		if d := cmp.Diff(alone[0], all[i], cmpopts.EquateApprox(1e-9, 0)); d != "" {
			t.Fatalf("%+v, alone and beside %+v (-alone +beside):\n%s", w, windows, d)
		}
	}
}

// count counts by hand.
func (m *machine) count(span exportops.Span) exportops.Summary {
	all := slices.Clone(m.gone)
	for _, e := range m.exports {
		if e.row != nil || len(e.measured) > 0 {
			all = append(all, e.outcome())
		}
	}
	return summarize(slices.DeleteFunc(all, func(o exportops.Outcome) bool {
		return o.Time.Before(span.From.Time) || !o.Time.Before(span.To.Time)
	}))
}

// freeze does what an aggregation does to a finished row.
func (e *export) freeze() {
	r := e.row
	if r == nil || r.status.InProgress() {
		return
	}
	best := e.best()
	status := r.status
	if status == exportops.Expired {
		status = exportops.Completed
	}
	if best != nil && !best.Status.InProgress() {
		if e.isMeasured(best) || r.status == exportops.Expired || best.Status == status {
			return
		}
	}
	o := e.row.outcome()
	e.observed = append(e.observed, exportops.Metric{
		UserID: r.user, Format: r.format, Status: status, ConversationCount: r.count, DurationMS: o.DurationMS,
		FileSizeBytes: r.size, ErrorType: ptr(o.ErrorType), Attempt: int64(len(e.observed) + 1), Timestamp: r.at,
	})
}

func (e *export) isMeasured(m *exportops.Metric) bool {
	return slices.ContainsFunc(e.measured, func(x exportops.Metric) bool {
		return x.Status == m.Status && x.Attempt == m.Attempt && x.Timestamp == m.Timestamp
	})
}

// best returns the metric the export counts as, in the words of the contract.
func (e *export) best() *exportops.Metric {
	order := func(a, b exportops.Metric) int {
		if a.Attempt != b.Attempt {
			return int(b.Attempt - a.Attempt)
		}
		if c := b.Timestamp.Compare(a.Timestamp.Time); c != 0 {
			return c
		}
		rank := []exportops.Status{exportops.Failed, exportops.Completed, exportops.Processing, exportops.Queued}
		return slices.Index(rank, a.Status) - slices.Index(rank, b.Status)
	}
	var ended, under []exportops.Metric
	for _, m := range e.measured {
		if m.Status.InProgress() {
			under = append(under, m)
		} else {
			ended = append(ended, m)
		}
	}
	for _, list := range [][]exportops.Metric{ended, e.observed, under} {
		if len(list) > 0 {
			sorted := slices.SortedFunc(slices.Values(list), order)
			return &sorted[0]
		}
	}
	return nil
}

func (r *row) outcome() exportops.Outcome {
	o := exportops.Outcome{
		Time: r.at, UserID: r.user, Format: r.format, CountRange: exportops.CountRangeOf(r.count), Status: r.status, SizeBytes: r.size,
	}
	if d := r.updated.Sub(r.created.Time).Milliseconds(); d >= 0 && r.status != exportops.Expired {
		o.DurationMS = &d
	}
	switch r.status {
	case exportops.Expired:
		o.Status = exportops.Completed
	case exportops.Failed:
		o.ErrorType = exportops.UnknownError
		if r.message != nil && *r.message == "TimeoutError: late" {
			o.ErrorType = "TimeoutError"
		}
		if r.message != nil && *r.message == "x:y" {
			o.ErrorType = "x"
		}
	}
	return o
}

func (e *export) outcome() exportops.Outcome {
	best := e.best()
	ended := best != nil && !best.Status.InProgress()
	if e.row != nil {
		finished := e.row.status == exportops.Completed || e.row.status == exportops.Failed
		changed := ended && len(e.observed) > 0 && !e.isMeasured(best) && finished && best.Status != e.row.status
		if !ended || changed {
			return e.row.outcome()
		}
	}
	o := exportops.Outcome{
		Time: best.Timestamp, UserID: best.UserID, Format: best.Format, CountRange: exportops.CountRangeOf(best.ConversationCount),
		Status: best.Status, DurationMS: best.DurationMS, SizeBytes: best.FileSizeBytes,
	}
	if e.row != nil {
		o.Time = e.row.at
	}
	if o.Status == exportops.Failed {
		o.ErrorType = exportops.UnknownError
		if best.ErrorType != nil && *best.ErrorType != "" {
			o.ErrorType = *best.ErrorType
		}
	}
	return o
}

// summarize counts outcomes, with exact percentiles.
func summarize(all []exportops.Outcome) exportops.Summary {
	s := exportops.Summary{
		FormatDistribution: map[exportops.Format]int64{}, CountRangeDistribution: map[exportops.CountRange]int64{},
		ExportsPerUser: map[string]int64{}, ErrorDistribution: map[string]int64{},
	}
	durations, sizes := map[exportops.Format][]int64{}, map[exportops.Format][]int64{}
	rangeDurations, rangeSizes := map[exportops.CountRange][]int64{}, map[exportops.CountRange][]int64{}
	for _, o := range all {
		s.TotalExports++
		s.FormatDistribution[o.Format]++
		s.CountRangeDistribution[o.CountRange]++
		s.ExportsPerUser[o.UserID]++
		switch o.Status {
		case exportops.Completed:
			s.SuccessfulExports++
			if o.DurationMS != nil {
				durations[o.Format] = append(durations[o.Format], *o.DurationMS)
				rangeDurations[o.CountRange] = append(rangeDurations[o.CountRange], *o.DurationMS)
			}
			if o.SizeBytes != nil {
				sizes[o.Format] = append(sizes[o.Format], *o.SizeBytes)
				rangeSizes[o.CountRange] = append(rangeSizes[o.CountRange], *o.SizeBytes)
			}
		case exportops.Failed:
			s.FailedExports++
			s.ErrorDistribution[o.ErrorType]++
		default:
			s.InProgressExports++
		}
	}
	s.DistinctUsers = int64(len(s.ExportsPerUser))
	if n := s.SuccessfulExports + s.FailedExports; n > 0 {
		s.SuccessRate = float64(s.SuccessfulExports) / float64(n)
	}
	s.AvgDurationByFormat, _, s.DurationPercentilesByFormat = exact(durations)
	s.AvgFileSizeByFormat, s.MaxFileSizeByFormat, s.FileSizePercentilesByFormat = exact(sizes)
	s.AvgDurationByCountRange, _, s.DurationPercentilesByCountRange = exact(rangeDurations)
	s.AvgFileSizeByCountRange, s.MaxFileSizeByCountRange, s.FileSizePercentilesByCountRange = exact(rangeSizes)
	return s
}

func exact[K comparable](values map[K][]int64) (map[K]float64, map[K]int64, map[K]exportops.Percentiles) {
	avg, most, p := map[K]float64{}, map[K]int64{}, map[K]exportops.Percentiles{}
	for k, v := range values {
		slices.Sort(v)
		at := func(q float64) float64 { return float64(v[int(q*float64(len(v)-1))]) }
		sum := 0.0
		for _, n := range v {
			sum += float64(n)
		}
		avg[k], most[k] = sum/float64(len(v)), v[len(v)-1]
		p[k] = exportops.Percentiles{P50: at(0.50), P95: at(0.95), P99: at(0.99)}
	}
	return avg, most, p
}

func compare(t *rapid.T, got, want exportops.Summary, sealed bool) {
	t.Helper()
	want.Period, want.PeriodStart, want.PeriodEnd = got.Period, got.PeriodStart, got.PeriodEnd
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 0.0101*math.Max(a, b) })
	if sealed {
		// What is taken out of a sealed hour leaves its maximum.
		for _, k := range slices.Collect(maps.Keys(want.MaxFileSizeByFormat)) {
			if got.MaxFileSizeByFormat[k] < want.MaxFileSizeByFormat[k] {
				t.Fatalf("largest %s file is %d, want at least %d", k, got.MaxFileSizeByFormat[k], want.MaxFileSizeByFormat[k])
			}
		}
		want.MaxFileSizeByFormat, want.MaxFileSizeByCountRange = got.MaxFileSizeByFormat, got.MaxFileSizeByCountRange
	}
	if d := cmp.Diff(want, got, near); d != "" {
		t.Fatalf("aggregate from %s to %s (-want +got):\n%s", got.PeriodStart, got.PeriodEnd, d)
	}
	if math.Abs(got.SuccessRate-want.SuccessRate) > 1e-12 {
		t.Fatalf("success rate is %v, want %v", got.SuccessRate, want.SuccessRate)
	}
}

func must(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
