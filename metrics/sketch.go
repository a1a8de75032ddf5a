package metrics

import (
	"fmt"
	"math"
	"sync"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"
)

// accuracy is how far a quantile may be from the exact value, relatively.
const accuracy = 0.01

// buckets maps values to the logarithmic buckets that every sketch shares.
var buckets = sync.OnceValue(func() mapping.IndexMapping {
	m, err := mapping.NewLogarithmicMapping(accuracy)
	if err != nil {
		panic(err) // the accuracy is a constant between 0 and 1
	}
	return m
})

// Sketch estimates the quantiles of integers from 0 within 1 %. It can be
// merged with others, and values can be taken out again.
type Sketch struct {
	dd *ddsketch.DDSketch
	// positive is dd's store of values above 0: taking a value out is something
	// the library's sketch refuses and its store allows.
	positive *store.DenseStore
	mapping  mapping.IndexMapping
	zeros    int64 // values of 0, which have no logarithm
}

// NewSketch returns an empty sketch.
func NewSketch() *Sketch {
	s := &Sketch{positive: store.NewDenseStore(), mapping: buckets()}
	s.dd = ddsketch.NewDDSketch(s.mapping, s.positive, store.NewDenseStore())
	return s
}

// Add puts in v, which must not be negative.
func (s *Sketch) Add(v int64) { s.add(v, 1) }

// Remove takes out v, which must have been put in.
func (s *Sketch) Remove(v int64) { s.add(v, -1) }

func (s *Sketch) add(v int64, n int64) {
	if v <= 0 {
		s.zeros += n
		return
	}
	s.positive.AddWithCount(s.mapping.Index(float64(v)), float64(n))
}

// Count returns how many values it holds.
func (s *Sketch) Count() int64 { return s.zeros + int64(math.Round(s.positive.TotalCount())) }

// Merge puts in everything that other holds.
func (s *Sketch) Merge(other *Sketch) {
	s.zeros += other.zeros
	s.positive.MergeWith(other.positive)
}

// Quantile returns the value of rank ⌊q·(n−1)⌋ of n within 1 %, for q from 0
// to 1; 0 when the sketch is empty.
func (s *Sketch) Quantile(q float64) float64 {
	rank := math.Floor(q * float64(s.Count()-1))
	if rank < float64(s.zeros) || s.positive.IsEmpty() {
		return 0
	}
	return s.mapping.Value(s.positive.KeyAtRank(rank - float64(s.zeros)))
}

// Encode returns the sketch in the library's own format, which names the
// accuracy; nil when it is empty.
func (s *Sketch) Encode() []byte {
	if s.Count() == 0 {
		return nil
	}
	var b []byte
	whole := ddsketch.NewDDSketch(s.mapping, s.positive, store.NewDenseStore())
	if s.zeros > 0 {
		// The library keeps zeros to itself: hand them over as values.
		_ = whole.AddWithCount(0, float64(s.zeros)) // fails for negative counts alone
	}
	whole.Encode(&b, false)
	return b
}

// MergeEncoded puts in everything that an encoded sketch holds; nil holds
// nothing.
func (s *Sketch) MergeEncoded(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := s.dd.DecodeAndMergeWith(b); err != nil {
		return fmt.Errorf("decode sketch: %w", err)
	}
	if n := s.dd.GetZeroCount(); n > 0 {
		// The library can add to its zeros but not take them out, so they are
		// kept here.
		s.zeros += int64(n)
		s.dd = ddsketch.NewDDSketch(s.mapping, s.positive, store.NewDenseStore())
	}
	return nil
}
