package scheduler

import "sync"

// turn lets one worker at a time look after a job: the others would all wait
// for the run that is under way, and take the places of other jobs' workers.
type turn struct {
	mu    sync.Mutex
	taken bool
	again bool // somebody came while it was taken
}

// do calls fn until it reports that there is no more to do. Where another
// caller is at it, do returns at once, and that caller looks once more.
func (t *turn) do(fn func() (more bool, err error)) error {
	if !t.take() {
		return nil
	}
	for {
		more, err := fn()
		if t.giveBack(more, err) {
			return err
		}
	}
}

func (t *turn) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.again = t.taken
	first := !t.taken
	t.taken = true
	return first
}

// giveBack reports whether the turn is over. After an error it is, for whoever
// came meanwhile too: what failed is tried again later.
func (t *turn) giveBack(more bool, err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil && (more || t.again) {
		t.again = false
		return false
	}
	t.taken, t.again = false, false
	return true
}
