package metrics

import (
	"context"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// FailureRate says how many of the exports asked for in the last minutes
// failed. It is nil when none of them finished, and KindInvalid for less than a
// minute or more than ten years. It emits nothing.
func (s *Service) FailureRate(ctx context.Context, lookbackMinutes int) (*exportops.FailureRate, error) {
	if most := int(maxRange / time.Minute); lookbackMinutes < 1 || lookbackMinutes > most {
		return nil, exportops.Invalid("lookback_minutes", "%d is not from 1 to %d", lookbackMinutes, most)
	}
	now := s.now()
	// What is reported in this very millisecond counts.
	span := exportops.Span{
		From: exportops.At(now.Add(-time.Duration(lookbackMinutes) * time.Minute)),
		To:   exportops.At(now.Add(time.Millisecond)),
	}
	var c *counter
	_, err := s.read(ctx, span, func(exportops.ReadPlan) (sink, func() error) {
		c = &counter{}
		return c, nothing
	})
	if err != nil {
		return nil, err
	}
	total := c.completed + c.failed
	if total == 0 {
		return nil, nil
	}
	r := exportops.FailureRate{
		FailureRate: float64(c.failed) / float64(total), FailedCount: c.failed, TotalCount: total,
		Threshold: exportops.FailureThreshold,
	}
	r.Alert = r.FailureRate > r.Threshold
	return &r, nil
}

// failureAlert is an export_failure_alert event.
type failureAlert struct {
	exportops.FailureRate
	Severity string `json:"severity"`
	Message  string `json:"message"`
}

// AnnounceFailureRate is FailureRate, and emits export_failure_alert above the
// threshold.
func (s *Service) AnnounceFailureRate(ctx context.Context, lookbackMinutes int) (*exportops.FailureRate, error) {
	r, err := s.FailureRate(ctx, lookbackMinutes)
	if err != nil || r == nil || !r.Alert {
		return r, err
	}
	s.events.Emit(exportops.EventFailureAlert, failureAlert{
		FailureRate: *r, Severity: "high",
		Message: fmt.Sprintf("Export failure rate (%.2f%%) exceeds threshold (%.0f%%)", 100*r.FailureRate, 100*r.Threshold),
	})
	return r, nil
}

func nothing() error { return nil }

// counter counts what finished.
type counter struct{ completed, failed int64 }

func (c *counter) cell(e *exportops.Cell) error {
	c.completed += e.Completed
	c.failed += e.Failed
	return nil
}

func (c *counter) outcome(o *exportops.Outcome) {
	switch o.Status {
	case exportops.Completed:
		c.completed++
	case exportops.Failed:
		c.failed++
	}
}
