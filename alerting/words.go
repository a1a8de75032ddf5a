package alerting

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/exportops/exportops"
)

// unit writes a figure for a person.
type unit func(float64) string

func share(v float64) string        { return fmt.Sprintf("%.2f%%", 100*v) }
func times(v float64) string        { return trimmed(v, 1) + "x" }
func milliseconds(v float64) string { return trimmed(v, 0) + " ms" }
func minutes(v float64) string      { return trimmed(v, 0) + " min" }
func hours(v float64) string        { return trimmed(v, 1) + " h" }
func count(v float64) string        { return trimmed(v, 0) }
func size(v float64) string         { return trimmed(v/gigabyte, 1) + " GB" }

// trimmed writes at most so many digits after the point.
func trimmed(v float64, digits int) string {
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if digits == 0 {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// subjects says what a figure is of, for the sentence of an alert.
var subjects = map[exportops.AlertKind]string{
	exportops.AlertFailureRate: "Export failure rate",
	exportops.AlertSuccess:     "Export success rate",
	exportops.AlertBurnRate:    "Burn rate of the success objective",
	exportops.AlertAvgDuration: "Average export duration",
	exportops.AlertP95Duration: "95th percentile of export duration",
	exportops.AlertVolume:      "Number of exports",
	exportops.AlertSilence:     "Number of exports",
	exportops.AlertStored:      "Size of stored export files",
	exportops.AlertOverdue:     "Age of the oldest overdue file",
	exportops.AlertQuarantined: "Number of quarantined deletions",
	exportops.AlertStuck:       "Number of stuck exports",
	exportops.AlertMissing:     "Number of missing files",
	exportops.AlertDeletions:   "Number of failed deletions in the latest cleanup",
	exportops.AlertMissed:      "Number of missed runs",
	exportops.AlertFailedRuns:  "Number of failed runs in a row",
	exportops.AlertOverlong:    "Duration of the active run",
	exportops.AlertArchives:    "Number of archives that are not as they were written",
	exportops.AlertDatabase:    "The database cannot be used",
	exportops.AlertStorage:     "The storage of export files cannot be used",
}

// Describe says when a rule alerts: "Export failure rate exceeds 10%".
func Describe(r exportops.AlertRule) string {
	if kinds[r.Kind].state {
		return subjects[r.Kind]
	}
	verb := "exceeds"
	if kinds[r.Kind].below {
		verb = "is below"
	}
	return fmt.Sprintf("%s %s %s", subjects[r.Kind], verb, threshold(r))
}

func threshold(r exportops.AlertRule) string {
	if r.Kind == exportops.AlertFailureRate || r.Kind == exportops.AlertSuccess {
		return trimmed(100*r.Threshold, 2) + "%"
	}
	return figure(r.Kind, r.Threshold)
}

// figure writes a figure of a kind; that of an incident may be one that this version
// does not know.
func figure(k exportops.AlertKind, v float64) string {
	if kind, known := kinds[k]; known {
		return kind.unit(v)
	}
	return trimmed(v, 2)
}

// Message is the sentence of an alert: for the failure rate that of the contract.
func Message(r exportops.AlertRule, f exportops.Reading) string {
	k := kinds[r.Kind]
	what := subjects[r.Kind]
	if f.Subject != "" {
		what += " of " + f.Subject
	}
	if r.Format != "" {
		what += " for " + string(r.Format)
	}
	verb := "exceeds threshold"
	if k.below {
		verb = "is below threshold"
	}
	s := what
	if !k.state {
		s = fmt.Sprintf("%s (%s) %s (%s)", what, k.unit(f.Value), verb, threshold(r))
	}
	if f.Detail != "" {
		s += ": " + f.Detail
	}
	return s
}
