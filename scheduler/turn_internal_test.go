package scheduler

import (
	"errors"
	"testing"
)

// TestTurn is about what a story with a clock cannot aim at: a wake that comes
// between the last look and the end of the turn.
func TestTurn(t *testing.T) {
	t.Run("whoever_has_it_looks_again_for_those_who_came", func(t *testing.T) {
		var tn turn
		looks := 0
		err := tn.do(func() (bool, error) {
			if looks++; looks == 1 {
				return false, tn.do(func() (bool, error) { return false, errors.New("two at once") })
			}
			return false, nil
		})
		if err != nil || looks != 2 {
			t.Errorf("%d looks, %v", looks, err)
		}
	})
	t.Run("an_error_ends_it", func(t *testing.T) {
		var tn turn
		full := errors.New("disk full")
		for range 2 {
			looks := 0
			err := tn.do(func() (bool, error) {
				looks++
				return true, errors.Join(full, tn.do(nil))
			})
			if !errors.Is(err, full) || looks != 1 {
				t.Errorf("%d looks, %v", looks, err)
			}
		}
	})
}
