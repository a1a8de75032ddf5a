package s3

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// atOnce is the most requests of a store that are in flight.
const atOnce = 16

// pace bounds how many requests are in flight: half as many when the service
// asks for fewer, and slowly more again while it does not.
type pace struct {
	mu       sync.Mutex
	inFlight int
	limit    float64
	lowered  time.Time // when the limit last was
	waiting  []chan struct{}
}

func newPace() *pace { return &pace{limit: atOnce} }

// enter waits for a turn, in order of arrival.
func (p *pace) enter(ctx context.Context) error {
	turn := make(chan struct{})
	p.mu.Lock()
	p.waiting = append(p.waiting, turn)
	p.admit()
	p.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, turn); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	} else { // it came in the same moment, and goes to the next
		p.inFlight--
		p.admit()
	}
	return ctx.Err()
}

// leave ends the turn of a request that was sent at that time.
func (p *pace) leave(sent time.Time, tooMany bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight--
	switch {
	case !tooMany:
		p.limit = min(atOnce, p.limit+1/p.limit)
	case sent.After(p.lowered): // those before it say nothing about the new limit
		p.limit, p.lowered = max(1, p.limit/2), time.Now()
	}
	p.admit()
}

func (p *pace) admit() {
	for len(p.waiting) > 0 && p.inFlight < int(p.limit) {
		close(p.waiting[0])
		p.waiting = p.waiting[1:]
		p.inFlight++
	}
}

const (
	patience    = time.Minute      // for how long one call of the store tries again
	oneAttempt  = 45 * time.Second // the longest that one request may take
	firstPause  = 100 * time.Millisecond
	longestRest = 5 * time.Second
	// deadTries is how often a service that does not answer is tried: one that
	// asks for patience gets it, one that is not there is soon reported.
	deadTries = 4
)

// send makes a request, and makes it again while the service is too busy or does
// not answer, until giveUp. call may be called several times.
func (s *Store) send(ctx context.Context, giveUp time.Time, call func(context.Context) error) error {
	return s.sendLong(ctx, giveUp, oneAttempt, call)
}

// sendLong is send for a request that may take long.
func (s *Store) sendLong(ctx context.Context, giveUp time.Time, within time.Duration, call func(context.Context) error) error {
	dead := 0
	for pause := firstPause; ; pause = min(2*pause, longestRest) {
		err := s.attempt(ctx, within, call)
		if err == nil || !passing(err) {
			return err
		}
		if ended := ctx.Err(); ended != nil {
			return becauseEnded(ended, err)
		}
		if unanswered(err) {
			dead++
		}
		rest := pause/2 + rand.N(pause/2) //nolint:gosec // chance, so that many do not come back together
		if dead == deadTries || time.Until(giveUp) < rest {
			return err
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return becauseEnded(ctx.Err(), err)
		}
	}
}

// endedError tells of the context's end, and of what kept the request until then.
type endedError struct{ ended, before error }

func (e *endedError) Error() string {
	return fmt.Sprintf("%v; before that, %v", e.ended, e.before)
}

func (e *endedError) Unwrap() error { return e.ended }

func becauseEnded(ended, err error) error {
	var known *endedError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, ended):
		return ended
	}
	return &endedError{ended: ended, before: reason(err)}
}

func (s *Store) attempt(ctx context.Context, within time.Duration, call func(context.Context) error) error {
	if err := s.pace.enter(ctx); err != nil {
		return err
	}
	sent := time.Now()
	one, cancel := context.WithTimeout(ctx, within)
	err := call(one)
	if one.Err() != nil && ctx.Err() == nil && err != nil {
		// The end of an attempt must not look like that of the caller's context.
		err = &smithyhttp.RequestSendError{Err: fmt.Errorf("not within %s", within)}
	}
	cancel()
	s.pace.leave(sent, tooMany(err))
	return err
}

// each calls do for 0 to n-1, for some of them at a time.
func each(n int, do func(i int)) {
	var workers sync.WaitGroup
	var mu sync.Mutex
	next := 0
	for range min(n, atOnce) {
		workers.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= n {
					return
				}
				do(i)
			}
		})
	}
	workers.Wait()
}
