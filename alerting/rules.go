package alerting

import (
	"time"

	"github.com/exportops/exportops"
)

// kind is what is the same for all rules of a kind.
type kind struct {
	below   bool // the figure alerts below the threshold
	minimum bool // the minimum sample binds it: it is a rate or an average
	unit    unit
}

var kinds = map[exportops.AlertKind]kind{
	exportops.AlertFailureRate: {minimum: true, unit: share},
	exportops.AlertSuccess:     {minimum: true, below: true, unit: share},
	exportops.AlertBurnRate:    {minimum: true, unit: times},
	exportops.AlertAvgDuration: {minimum: true, unit: milliseconds},
	exportops.AlertP95Duration: {minimum: true, unit: milliseconds},
	exportops.AlertVolume:      {unit: count},
	exportops.AlertSilence:     {below: true, unit: count},
	exportops.AlertStored:      {unit: size},
	exportops.AlertOverdue:     {unit: hours},
	exportops.AlertQuarantined: {unit: count},
	exportops.AlertStuck:       {unit: count},
	exportops.AlertMissing:     {unit: count},
	exportops.AlertDeletions:   {unit: count},
	exportops.AlertMissed:      {unit: count},
	exportops.AlertFailedRuns:  {unit: count},
	exportops.AlertOverlong:    {unit: minutes},
}

// The objective of the contract: 95 % of exports succeed. Burn rates are those of
// the SRE workbook, chapter 5: 14.4 uses up 2 % of a month's budget in an hour, 6
// uses up 5 % in six. With a budget of 5 % a burn rate cannot exceed 20.
const (
	SuccessObjective = 0.95
	fastBurn         = 14.4
	slowBurn         = 6
)

// gigabyte is decimal, as disks and invoices count.
const gigabyte = 1e9

// DefaultRules are the rules that hold where nothing else is said: the contract's
// thresholds, and what nobody should have to think of.
func DefaultRules() []exportops.AlertRule {
	const day, sample = 24 * time.Hour, 5
	return []exportops.AlertRule{
		{
			Name: "failure-rate", Kind: exportops.AlertFailureRate, Severity: exportops.SeverityHigh, Threshold: 0.10, Clear: 0.08,
			Window: time.Hour, MinSample: sample,
		},
		{
			Name: "success-objective", Kind: exportops.AlertSuccess, Severity: exportops.SeverityWarning, Threshold: SuccessObjective,
			Clear: 0.96, Window: day, MinSample: sample,
		},
		{
			Name: "burn-rate-fast", Kind: exportops.AlertBurnRate, Severity: exportops.SeverityCritical, Threshold: fastBurn, Clear: 12,
			Window: time.Hour, Short: 5 * time.Minute, MinSample: sample,
		},
		{
			Name: "burn-rate-slow", Kind: exportops.AlertBurnRate, Severity: exportops.SeverityHigh, Threshold: slowBurn, Clear: 5,
			Window: 6 * time.Hour, Short: 30 * time.Minute, MinSample: sample,
		},
		{
			Name: "average-duration", Kind: exportops.AlertAvgDuration, Severity: exportops.SeverityWarning, Threshold: 5000, Clear: 4500,
			Window: time.Hour, MinSample: sample,
		},
		{
			Name: "p95-duration", Kind: exportops.AlertP95Duration, Severity: exportops.SeverityWarning, Threshold: 15_000, Clear: 13_500,
			Window: time.Hour, MinSample: sample,
		},
		{Name: "volume", Kind: exportops.AlertVolume, Severity: exportops.SeverityCapacity, Threshold: 1000, Clear: 900, Window: time.Hour},
		{Name: "no-exports", Kind: exportops.AlertSilence, Severity: exportops.SeverityWarning, Threshold: 1, Clear: 1, Window: 6 * time.Hour},
		{Name: "stored-files", Kind: exportops.AlertStored, Severity: exportops.SeverityWarning, Threshold: 10 * gigabyte, Clear: 9 * gigabyte},
		{Name: "overdue-files", Kind: exportops.AlertOverdue, Severity: exportops.SeverityHigh, Threshold: 26, Clear: 26},
		{Name: "quarantined-files", Kind: exportops.AlertQuarantined, Severity: exportops.SeverityHigh},
		{Name: "stuck-exports", Kind: exportops.AlertStuck, Severity: exportops.SeverityWarning, Window: 2 * time.Hour},
		{Name: "missing-files", Kind: exportops.AlertMissing, Severity: exportops.SeverityHigh},
		{Name: "failed-deletions", Kind: exportops.AlertDeletions, Severity: exportops.SeverityHigh, Threshold: 5, Clear: 5},
		{Name: "missed-runs", Kind: exportops.AlertMissed, Severity: exportops.SeverityHigh, Window: 2 * time.Hour},
		{Name: "failed-runs", Kind: exportops.AlertFailedRuns, Severity: exportops.SeverityHigh},
		{Name: "overlong-runs", Kind: exportops.AlertOverlong, Severity: exportops.SeverityWarning, Threshold: 60, Clear: 60},
	}
}
