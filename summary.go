package exportops

import (
	"context"
	"iter"
	"time"
)

// Period is the length of a bucket: half-open, UTC.
type Period string

// The periods that exports are counted by.
const (
	Hourly Period = "hourly"
	Daily  Period = "daily"
)

// ParsePeriod reads a period; "" is fallback.
func ParsePeriod(field, s string, fallback Period) (Period, error) {
	if s == "" {
		return fallback, nil
	}
	p := Period(s)
	return p, checkOneOf(field, p, []Period{Hourly, Daily})
}

// Length returns how long a bucket of the period is.
func (p Period) Length() time.Duration {
	if p == Hourly {
		return time.Hour
	}
	return 24 * time.Hour
}

// Key names the bucket that holds t: YYYY-MM-DDTHH or YYYY-MM-DD.
func (p Period) Key(t Time) string {
	if p == Hourly {
		return t.UTC().Format("2006-01-02T15")
	}
	return t.UTC().Format("2006-01-02")
}

// Span is a half-open interval [From, To).
type Span struct{ From, To Time }

// Outcome is what one export counts as: its latest terminal metric, else its
// terminal row, else in progress. Its time is the row's, else the metric's.
type Outcome struct {
	Time       Time
	UserID     string
	Format     Format
	CountRange CountRange
	Status     Status // Completed, Failed, Queued or Processing; never Expired
	DurationMS *int64
	SizeBytes  *int64
	ErrorType  string // set when failed, UnknownError where none was given
}

// Summary is the aggregate over [PeriodStart, PeriodEnd).
type Summary struct {
	Period      Period `json:"period"`
	PeriodStart Time   `json:"period_start"`
	PeriodEnd   Time   `json:"period_end"`

	TotalExports      int64   `json:"total_exports"` // successful, failed and in progress
	SuccessfulExports int64   `json:"successful_exports"`
	FailedExports     int64   `json:"failed_exports"`
	InProgressExports int64   `json:"in_progress_exports"`
	SuccessRate       float64 `json:"success_rate"` // of those finished, 0 to 1; 0 of none

	// Durations (milliseconds) and sizes (bytes) are those of completed exports.
	AvgDurationByFormat map[Format]float64 `json:"avg_duration_by_format"`
	AvgFileSizeByFormat map[Format]float64 `json:"avg_file_size_by_format"`
	MaxFileSizeByFormat map[Format]int64   `json:"max_file_size_by_format"`

	DurationPercentilesByFormat map[Format]Percentiles `json:"duration_ms_percentiles_by_format"`
	FileSizePercentilesByFormat map[Format]Percentiles `json:"file_size_percentiles_by_format"`

	AvgDurationByCountRange         map[CountRange]float64     `json:"avg_duration_by_count_range"`
	AvgFileSizeByCountRange         map[CountRange]float64     `json:"avg_file_size_by_count_range"`
	MaxFileSizeByCountRange         map[CountRange]int64       `json:"max_file_size_by_count_range"`
	DurationPercentilesByCountRange map[CountRange]Percentiles `json:"duration_ms_percentiles_by_count_range"`
	FileSizePercentilesByCountRange map[CountRange]Percentiles `json:"file_size_percentiles_by_count_range"`

	FormatDistribution     map[Format]int64     `json:"format_distribution"`
	CountRangeDistribution map[CountRange]int64 `json:"count_range_distribution"`
	ExportsPerUser         map[string]int64     `json:"exports_per_user"` // the top 100 by count
	DistinctUsers          int64                `json:"distinct_users"`
	ErrorDistribution      map[string]int64     `json:"error_distribution"`
}

// Percentiles are within 1 % of the exact value of that rank.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// FailureRate is the answer to the failure check. Alert is set above the
// threshold, not at it.
type FailureRate struct {
	Alert       bool    `json:"alert"`
	FailureRate float64 `json:"failure_rate"` // failed ÷ (completed + failed), 0 to 1
	FailedCount int64   `json:"failed_count"`
	TotalCount  int64   `json:"total_count"` // completed + failed
	Threshold   float64 `json:"threshold"`
}

// FailureThreshold is the failure rate above which the check alerts.
const FailureThreshold = 0.10

// Volume is the number of exports in each of the last periods.
type Volume struct {
	Period       Period        `json:"period"`
	Days         int           `json:"days"`
	TotalExports int64         `json:"total_exports"`
	AvgPerPeriod float64       `json:"avg_per_period"`
	PeakPeriod   *PeriodCount  `json:"peak_period"` // the earliest of the largest, null when all are zero
	VolumeData   []PeriodCount `json:"volume_data"` // oldest first, empty periods as zero
}

// PeriodCount is the number of exports of one period.
type PeriodCount struct {
	Period string `json:"period"`
	Count  int64  `json:"count"`
}

// UserCount is the number of exports of one user.
type UserCount struct {
	UserID string
	Count  int64
}

// OutcomeStore reads what exports count as, from rows: metrics where an export
// has one, export_logs where it has none, in one statement.
type OutcomeStore interface {
	// Outcomes yields every outcome whose time lies in span, in no order.
	// An error is yielded last.
	Outcomes(ctx context.Context, span Span) iter.Seq2[Outcome, error]
	// InProgress yields those of Outcomes that are in progress, by an index
	// that holds few.
	InProgress(ctx context.Context, span Span) iter.Seq2[Outcome, error]
	// TopUsers returns the users with the most exports, most first and then by
	// id, and how many users there are, over the rollups of rolled and the rows
	// of the rest. In-progress exports of rolled spans are counted too.
	TopUsers(ctx context.Context, plan ReadPlan, limit int) (top []UserCount, distinct int64, err error)
	// Errors returns how often each error type occurred.
	Errors(ctx context.Context, plan ReadPlan) (map[string]int64, error)
}

// ReadPlan says which parts of an interval are read from rollups and which
// from rows. The spans do not overlap and cover the interval.
type ReadPlan struct {
	Days  []Span // whole days with a rollup of the day
	Hours []Span // whole hours with a clean rollup of the hour
	Rows  []Span // the rest
}
