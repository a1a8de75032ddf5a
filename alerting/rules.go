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
	state   bool // it holds or it does not: there is no threshold to set

	scale scale   // how its threshold is written in the settings
	most  float64 // more than this the figure never is; it is never below 0
	ease  float64 // how much better than its threshold a rule clears where nothing is said
	// looks are the shortest and the longest window, zero where there is none.
	looks  [2]time.Duration
	short  bool // it has a second, shorter window
	narrow bool // it can be about one format, or one user
}

// How far back kinds of rules can look. Rollups answer for exports of any age; the
// exports of one user are read row by row, so not more of them than a day. Silence is
// held against the same hours of the days before. Of missed slots the latest are kept
// at hand.
var (
	atExports = [2]time.Duration{time.Minute, 366 * day}
	atHours   = [2]time.Duration{time.Hour, day}
	atStuck   = [2]time.Duration{5 * time.Minute, 30 * day}
	atSlots   = [2]time.Duration{time.Minute, day}
)

const (
	day        = 24 * time.Hour
	mostOfUser = day
	unbounded  = 1e15
)

var kinds = map[exportops.AlertKind]kind{
	exportops.AlertFailureRate: {minimum: true, unit: share, scale: shares, most: 1, ease: 0.2, looks: atExports, narrow: true},
	exportops.AlertSuccess: {
		minimum: true, below: true, unit: share, scale: shares, most: 1, ease: 0.2, looks: atExports, narrow: true,
	},
	exportops.AlertBurnRate: {
		minimum: true, unit: times, scale: factors, most: 20, ease: 1. / 6, looks: atExports, short: true, narrow: true,
	},
	exportops.AlertAvgDuration: {
		minimum: true, unit: milliseconds, scale: inMilliseconds, most: unbounded, ease: 0.1, looks: atExports, narrow: true,
	},
	exportops.AlertP95Duration: {
		minimum: true, unit: milliseconds, scale: inMilliseconds, most: unbounded, ease: 0.1, looks: atExports, narrow: true,
	},
	exportops.AlertVolume:      {unit: count, scale: counts, most: unbounded, ease: 0.1, looks: atExports, narrow: true},
	exportops.AlertSilence:     {below: true, unit: count, scale: counts, most: unbounded, looks: atHours},
	exportops.AlertStored:      {unit: size, scale: sizes, most: unbounded, ease: 0.1},
	exportops.AlertOverdue:     {unit: hours, scale: inHours, most: unbounded},
	exportops.AlertQuarantined: {unit: count, scale: counts, most: unbounded},
	exportops.AlertStuck:       {unit: count, scale: counts, most: unbounded, looks: atStuck},
	exportops.AlertMissing:     {unit: count, scale: counts, most: unbounded},
	exportops.AlertDeletions:   {unit: count, scale: counts, most: unbounded},
	exportops.AlertMissed:      {unit: count, scale: counts, most: unbounded, looks: atSlots},
	exportops.AlertFailedRuns:  {unit: count, scale: counts, most: unbounded},
	exportops.AlertOverlong:    {unit: minutes, scale: inMinutes, most: unbounded},
	exportops.AlertArchives:    {unit: count, scale: counts, most: unbounded},
	exportops.AlertDatabase:    {unit: count, state: true},
	exportops.AlertStorage:     {unit: count, state: true},
}

// The objective of the contract: 95 % of exports succeed. Burn rates are those of
// the SRE workbook, chapter 5: 14.4 uses up 2 % of a month's budget in an hour, 6
// uses up 5 % in six. With a budget of 5 % a burn rate cannot exceed 20.
const (
	SuccessObjective = exportops.SuccessTarget
	fastBurn         = 14.4
	slowBurn         = 6
)

// leastSample is the minimum sample where none is said.
const leastSample = 5

// gigabyte is decimal, as disks and invoices count.
const gigabyte = 1e9

// DefaultRules are the rules that hold where nothing else is said: the contract's
// thresholds, and what nobody should have to think of.
func DefaultRules() []exportops.AlertRule {
	const sample = leastSample
	rules := []exportops.AlertRule{
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
		{Name: "archive-faults", Kind: exportops.AlertArchives, Severity: exportops.SeverityHigh},
		{Name: "database-unreachable", Kind: exportops.AlertDatabase, Severity: exportops.SeverityCritical, For: 30 * time.Second},
		{Name: "storage-unreachable", Kind: exportops.AlertStorage, Severity: exportops.SeverityHigh, For: 90 * time.Second},
	}
	for n := range rules {
		rules[n].Source = "default"
	}
	return rules
}
