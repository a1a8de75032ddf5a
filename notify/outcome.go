package notify

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"

	"github.com/exportops/exportops"
)

const (
	mostFailures = 12             // then a message is given up on
	firstPause   = time.Minute    // at most, after the first failure
	longestPause = time.Hour      // at most, after any
	longestAsked = 24 * time.Hour // that a receiver may ask to be left alone
	maxError     = 500            // characters that are kept of an error
)

// jitter spreads what failed together: it returns half of d to all of it.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) } //nolint:gosec // nobody gains by guessing it

// judge says what becomes of a notification after an attempt. One that was stopped
// before its channel answered is given back as if nothing had been.
func judge(n exportops.Notification, err error, stopped bool, now exportops.Time, spread func(time.Duration) time.Duration) exportops.NotificationOutcome {
	o := exportops.NotificationOutcome{
		ID: n.ID, Channel: n.Channel, Attempt: n.Attempts, Now: now, State: exportops.NotificationPending, NextAt: now,
	}
	if err == nil {
		o.State = exportops.NotificationDelivered
		return o
	}
	if stopped {
		return o
	}
	o.Error = plain(err)
	var said *exportops.DeliveryError
	errors.As(err, &said)
	if n.Failures+1 >= mostFailures || (said != nil && said.Final) {
		o.State = exportops.NotificationDead
		return o
	}
	pause := spread(min(firstPause<<n.Failures, longestPause))
	if said != nil {
		pause = max(pause, min(said.RetryAfter, longestAsked))
	}
	o.NextAt = exportops.At(now.Add(pause))
	return o
}

// plain is an error on one line, and not endless: a receiver may have written it.
func plain(err error) string {
	s := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(err.Error(), "�"))
	if runes := []rune(s); len(runes) > maxError {
		s = string(runes[:maxError]) + "…"
	}
	if strings.TrimSpace(s) == "" {
		return "the channel did not say why"
	}
	return s
}
