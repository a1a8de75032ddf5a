package metrics

import (
	"fmt"
	"math"

	"github.com/exportops/exportops"
)

// tally sums up the finished exports of one format and count range, as a cell
// does, with its sketches unpacked.
type tally struct {
	completed, failed int64
	duration, size    measure
}

type measure struct {
	count, sum, max int64
	sketch          *Sketch // made with the first value
}

// add counts one outcome n times: 1 puts it in, -1 takes it out. Exports in
// progress do not count.
func (t *tally) add(o *exportops.Outcome, n int64) {
	switch o.Status {
	case exportops.Failed:
		t.failed += n
	case exportops.Completed:
		t.completed += n
		t.duration.add(o.DurationMS, n)
		t.size.add(o.SizeBytes, n)
	}
}

func (m *measure) add(v *int64, n int64) {
	if v == nil || *v < 0 {
		return
	}
	m.count += n
	if m.count <= 0 {
		*m = measure{}
		return
	}
	m.sum = plus(m.sum, n**v)
	if n > 0 {
		// What is taken out leaves the maximum as it is: the one before it is
		// not known any more.
		m.max = max(m.max, *v)
	}
	if m.sketch == nil {
		m.sketch = NewSketch()
	}
	m.sketch.add(*v, n)
}

// plus adds without wrapping: a sum of hostile sizes stays at the largest.
func plus(a, b int64) int64 {
	switch s := a + b; {
	case a > 0 && b > 0 && s < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && s >= 0:
		return math.MinInt64
	default:
		return s
	}
}

// mergeCell counts everything a cell holds.
func (t *tally) mergeCell(c *exportops.Cell) error {
	t.completed += c.Completed
	t.failed += c.Failed
	if err := t.duration.mergeEncoded(c.Duration); err != nil {
		return fmt.Errorf("durations of %s %s from %s: %w", c.Format, c.CountRange, c.Start, err)
	}
	if err := t.size.mergeEncoded(c.Size); err != nil {
		return fmt.Errorf("sizes of %s %s from %s: %w", c.Format, c.CountRange, c.Start, err)
	}
	return nil
}

func (m *measure) mergeEncoded(o exportops.Measure) error {
	if o.Count == 0 {
		return nil
	}
	m.count, m.sum, m.max = m.count+o.Count, plus(m.sum, o.Sum), max(m.max, o.Max)
	if m.sketch == nil {
		m.sketch = NewSketch()
	}
	before := m.sketch.Count()
	if err := m.sketch.MergeEncoded(o.Sketch); err != nil {
		return err
	}
	if n := m.sketch.Count() - before; n != o.Count {
		return fmt.Errorf("the sketch holds %d values and should hold %d", n, o.Count)
	}
	return nil
}

func (m *measure) merge(o measure) {
	if o.count == 0 {
		return
	}
	m.count, m.sum, m.max = m.count+o.count, plus(m.sum, o.sum), max(m.max, o.max)
	if m.sketch == nil {
		m.sketch = NewSketch()
	}
	m.sketch.Merge(o.sketch)
}

func (m *measure) encode() exportops.Measure {
	e := exportops.Measure{Count: m.count, Sum: m.sum, Max: m.max}
	if m.sketch != nil {
		e.Sketch = m.sketch.Encode()
	}
	return e
}

func (t *tally) cell(start exportops.Time, k cellKey) exportops.Cell {
	return exportops.Cell{
		Start: start, Format: k.format, CountRange: k.countRange,
		Completed: t.completed, Failed: t.failed,
		Duration: t.duration.encode(), Size: t.size.encode(),
	}
}

// ApplyDelta puts outcomes into a cell and takes others out, as a sealed hour
// needs it: its rows are gone, so it cannot be computed again. The maxima do
// not fall. Outcomes of another format or count range than the cell's are the
// caller's mistake.
func ApplyDelta(c *exportops.Cell, in, out []exportops.Outcome) error {
	var t tally
	if err := t.mergeCell(c); err != nil {
		return err
	}
	// In before out, so that a correction never passes through zero.
	for i := range in {
		t.add(&in[i], 1)
	}
	for i := range out {
		t.add(&out[i], -1)
	}
	*c = t.cell(c.Start, cellKey{c.Format, c.CountRange})
	return nil
}

// cellKey tells the cells of a bucket apart.
type cellKey struct {
	format     exportops.Format
	countRange exportops.CountRange
}
