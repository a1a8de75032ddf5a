package exportops_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/exportops/exportops"
)

// memoryChain is a ledger in memory: its links by day, and its days.
type memoryChain struct {
	days  []exportops.ChainDay
	links map[string][]exportops.ChainLink
}

func (m *memoryChain) ChainDays(context.Context) ([]exportops.ChainDay, error) { return m.days, nil }
func (m *memoryChain) Unchained(context.Context) (int64, error)                { return 0, nil }

func (m *memoryChain) ChainLinks(_ context.Context, day string) iter.Seq2[exportops.ChainLink, error] {
	return func(yield func(exportops.ChainLink, error) bool) {
		for _, l := range m.links[day] {
			if !yield(l, nil) {
				return
			}
		}
	}
}

// link adds rows to the chain, as a store does.
func (m *memoryChain) link(t *rapid.T, now exportops.Time, rows []exportops.LedgerRow) {
	var last *exportops.ChainDay
	if n := len(m.days); n > 0 {
		last = &m.days[n-1]
	}
	day, links, err := exportops.LinkDeletions(last, now, rows)
	if err != nil {
		t.Fatal(err)
	}
	for i := range links {
		row := rows[i]
		links[i].Row = &row
	}
	m.links[day.Day] = append(m.links[day.Day], links...)
	if last != nil && last.Day == day.Day {
		m.days = m.days[:len(m.days)-1]
	}
	m.days = append(m.days, day)
}

var value = rapid.OneOf(
	rapid.Just[any](nil), rapid.Map(rapid.Int64(), func(n int64) any { return n }), rapid.Map(rapid.Float64(), func(f float64) any { return f }),
	rapid.Map(rapid.String(), func(s string) any { return s }), rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 3), func(b []byte) any { return b }),
)

func (m *memoryChain) breaks(t *rapid.T) []exportops.ChainBreak {
	r, err := exportops.VerifyChain(t.Context(), m, 0, exportops.At(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	return r.Breaks
}

// Whatever is done to one entry shows, unless it is an erasure.
func TestWhatIsDoneToTheLedgerShows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &memoryChain{links: map[string][]exportops.ChainLink{}}
		now, id := exportops.At(time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC)), int64(0)
		for range rapid.IntRange(1, 5).Draw(t, "batches") {
			var rows []exportops.LedgerRow
			for range rapid.IntRange(1, 4).Draw(t, "rows") {
				id++
				r := exportops.LedgerRow{ID: id, Identity: rapid.SliceOfN(value, 5, 5).Draw(t, "identity"), Facts: rapid.SliceOfN(value, 4, 4).Draw(t, "facts")}
				r.Identity[0] = "export"
				rows = append(rows, r)
			}
			m.link(t, now, rows)
			now = exportops.At(now.Add(time.Duration(rapid.IntRange(-30, 30).Draw(t, "hours")) * time.Hour))
		}
		if broken := m.breaks(t); len(broken) > 0 {
			t.Fatalf("untouched, it is broken: %+v", broken)
		}
		day := rapid.SampledFrom(m.days).Draw(t, "day").Day
		links := m.links[day]
		i := rapid.IntRange(0, len(links)-1).Draw(t, "link")
		other := func(v any) any {
			return value.Filter(func(x any) bool { return fmt.Sprintf("%T %v", x, x) != fmt.Sprintf("%T %v", v, v) }).Draw(t, "other")
		}
		switch rapid.SampledFrom([]string{"identity", "fact", "number", "remove", "swap", "erase"}).Draw(t, "what") {
		case "identity":
			k := rapid.IntRange(0, 4).Draw(t, "column")
			links[i].Row.Identity[k] = other(links[i].Row.Identity[k])
		case "fact":
			k := rapid.IntRange(0, 3).Draw(t, "column")
			links[i].Row.Facts[k] = other(links[i].Row.Facts[k])
		case "number":
			links[i].Row.ID++
		case "remove":
			m.links[day] = slices.Delete(links, i, i+1)
		case "swap":
			k := rapid.IntRange(0, len(links)-1).Draw(t, "with")
			if k == i {
				return
			}
			links[i].Row, links[k].Row = links[k].Row, links[i].Row
		case "erase":
			links[i].Row.Identity, links[i].Salt = make([]any, 5), nil
			if broken := m.breaks(t); len(broken) > 0 {
				t.Fatalf("an erasure is taken for a break: %+v", broken)
			}
			links[i].Row.Facts[0] = other(links[i].Row.Facts[0])
		}
		broken := m.breaks(t)
		if len(broken) != 1 || broken[0].Day != day {
			t.Fatalf("%s is broken, and found is %+v", day, broken)
		}
	})
}
