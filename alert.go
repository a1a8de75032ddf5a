package exportops

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// AlertKind is what an alert rule looks at.
type AlertKind string

// The kinds of rules, with what their figure is.
const (
	AlertFailureRate AlertKind = "failure_rate"     // failed exports of those that finished, 0 to 1
	AlertSuccess     AlertKind = "success_rate"     // completed exports of those that finished, 0 to 1
	AlertBurnRate    AlertKind = "burn_rate"        // how many times faster than allowed the failures use up the objective's budget
	AlertAvgDuration AlertKind = "avg_duration"     // milliseconds
	AlertP95Duration AlertKind = "p95_duration"     // milliseconds
	AlertVolume      AlertKind = "volume"           // exports asked for
	AlertSilence     AlertKind = "no_exports"       // exports asked for, where there usually are some
	AlertStored      AlertKind = "stored_bytes"     // bytes of files of completed exports
	AlertOverdue     AlertKind = "overdue_files"    // hours since the oldest expired file should have gone
	AlertQuarantined AlertKind = "quarantined"      // files given up on
	AlertStuck       AlertKind = "stuck_exports"    // exports in progress for longer than the window
	AlertMissing     AlertKind = "missing_files"    // live exports whose file is not there
	AlertDeletions   AlertKind = "failed_deletions" // deletions that failed in the latest file cleanup
	AlertMissed      AlertKind = "missed_runs"      // slots of a job that were missed in the window
	AlertFailedRuns  AlertKind = "failed_runs"      // runs of a job in a row that failed, up to the latest
	AlertOverlong    AlertKind = "overlong_runs"    // minutes that the active run of a job has been at it
	AlertArchives    AlertKind = "archive_faults"   // archives that were read back and are not what was written
	AlertDatabase    AlertKind = "database_unreachable"
	AlertStorage     AlertKind = "storage_unreachable"
)

// AlertKinds lists every kind.
var AlertKinds = []AlertKind{
	AlertFailureRate, AlertSuccess, AlertBurnRate, AlertAvgDuration, AlertP95Duration, AlertVolume, AlertSilence, AlertStored, AlertOverdue,
	AlertQuarantined, AlertStuck, AlertMissing, AlertDeletions, AlertMissed, AlertFailedRuns, AlertOverlong, AlertArchives, AlertDatabase,
	AlertStorage,
}

// Severity says how urgent an alert is.
type Severity string

// The severities, the most urgent first.
const (
	SeverityCritical Severity = "critical"
	SeverityHigh     Severity = "high"
	SeverityWarning  Severity = "warning"
	SeverityCapacity Severity = "capacity" // nothing is broken: there is more of it than planned for
)

// Severities lists every severity.
var Severities = []Severity{SeverityCritical, SeverityHigh, SeverityWarning, SeverityCapacity}

// AlertRule says when a figure is an alert.
type AlertRule struct {
	Name      string    `json:"name"`
	Kind      AlertKind `json:"kind"`
	Severity  Severity  `json:"severity"`
	Threshold float64   `json:"threshold"`
	// Clear is where a firing alert is over, on the good side of the threshold: in
	// between it stays as it is, so that a figure that wavers fires once.
	Clear  float64       `json:"clear"`
	Window time.Duration `json:"-"`
	// Short is the second, shorter window of a burn rate, which lets it end soon
	// after the failures do.
	Short     time.Duration `json:"-"`
	MinSample int64         `json:"min_sample"` // with fewer exports a rate says nothing
	For       time.Duration `json:"-"`          // how long it must last before it fires
	Format    Format        `json:"format,omitempty"`
	UserID    string        `json:"user_id,omitempty"`
	Source    string        `json:"source"` // "default", or where in the settings it is written
}

// Reading is one figure that a rule looked at.
type Reading struct {
	// Subject tells figures of one rule apart: a job, a store; "" where there is one.
	Subject string
	Value   float64
	Sample  int64 // exports it rests on
	// Unknown is a figure that cannot be told: it neither fires nor clears.
	Unknown bool
	Detail  string // what a person should know beside the figure
}

// IncidentState is where an incident is in its life.
type IncidentState string

// The states of an incident.
const (
	IncidentPending  IncidentState = "pending"  // beyond the threshold, not for long enough yet
	IncidentFiring   IncidentState = "firing"   // somebody should look
	IncidentResolved IncidentState = "resolved" // over; a next time is another incident
)

// Incident is one time that a rule was broken, one record for all replicas.
type Incident struct {
	ID             string        `json:"id"`
	Rule           string        `json:"rule"`
	Kind           AlertKind     `json:"kind"`
	Subject        string        `json:"subject"`
	Severity       Severity      `json:"severity"`
	State          IncidentState `json:"state"`
	Value          float64       `json:"value"` // as it was read last
	Worst          float64       `json:"worst"`
	Threshold      float64       `json:"threshold"`
	Sample         int64         `json:"sample"`
	Message        string        `json:"message"`
	StartedAt      Time          `json:"started_at"` // first beyond the threshold
	FiredAt        *Time         `json:"fired_at"`
	ResolvedAt     *Time         `json:"resolved_at"`
	SeenAt         Time          `json:"seen_at"`         // last known not to be over
	RemindedAt     *Time         `json:"reminded_at"`     // when it was last told of
	AcknowledgedAt *Time         `json:"acknowledged_at"` // somebody looks: no reminders
	AcknowledgedBy string        `json:"acknowledged_by,omitempty"`
	ToldTo         []string      `json:"told_to,omitempty"` // the channels that heard of it

	// Version rises with each change; 0 is of one that no store has yet.
	Version int64 `json:"-"`
}

// Open reports whether the incident is not over.
func (i Incident) Open() bool { return i.State != IncidentResolved }

// IncidentStep says what happened to an incident.
type IncidentStep string

// The steps. Those that are told are told to every channel.
const (
	StepPending      IncidentStep = "pending"
	StepFiring       IncidentStep = "firing"   // told
	StepReminder     IncidentStep = "reminder" // told
	StepResolved     IncidentStep = "resolved" // told where it had fired
	StepAcknowledged IncidentStep = "acknowledged"
)

// IncidentEvent is a line of an incident's history.
type IncidentEvent struct {
	IncidentID string       `json:"incident_id"`
	At         Time         `json:"at"`
	Step       IncidentStep `json:"step"`
	Value      float64      `json:"value"`
	By         string       `json:"by,omitempty"`   // a person, for what a person did
	Note       string       `json:"note,omitempty"` // why
}

// Silence keeps incidents of a rule, or of all, from being told of until it ends.
// They are kept as ever, and one that still fires then is told of.
type Silence struct {
	ID       int64  `json:"id"`
	Rule     string `json:"rule"`    // "" for every rule
	Subject  string `json:"subject"` // "" for every subject
	Until    Time   `json:"until"`
	Reason   string `json:"reason"`
	PlacedBy string `json:"placed_by"`
	PlacedAt Time   `json:"placed_at"`
	EndedAt  *Time  `json:"ended_at"` // before its time
	EndedBy  string `json:"ended_by,omitempty"`
}

// Covers reports whether the silence is about an incident now.
func (s Silence) Covers(i Incident, now Time) bool {
	return s.EndedAt == nil && !s.PlacedAt.After(now.Time) && now.Before(s.Until.Time) &&
		(s.Rule == "" || s.Rule == i.Rule) && (s.Subject == "" || s.Subject == i.Subject)
}

// Check returns the silence with its texts trimmed. The errors are KindInvalid and
// name each field that is wrong.
func (s Silence) Check() (Silence, error) {
	s.Rule, s.Subject, s.Reason, s.PlacedBy = strings.TrimSpace(s.Rule), strings.TrimSpace(s.Subject), strings.TrimSpace(s.Reason), strings.TrimSpace(s.PlacedBy)
	errs := []error{
		checkAlertText("rule", s.Rule, MaxSilenceName, false), checkAlertText("subject", s.Subject, MaxSilenceName, false),
		checkAlertText("reason", s.Reason, MaxSilenceReason, true), checkAlertText("by", s.PlacedBy, MaxSilenceName, true),
	}
	if d := s.Until.Sub(s.PlacedAt.Time); d < time.Minute || d > MaxSilence {
		errs = append(errs, Invalid("for", "%s is not from 1m to %s", d, MaxSilence))
	}
	return s, errors.Join(errs...)
}

// CheckAlertName checks the name of a rule, or of who does something about an alert;
// the error names field.
func CheckAlertName(field, name string) error {
	return checkAlertText(field, name, MaxSilenceName, true)
}

func checkAlertText(field, text string, most int, needed bool) error {
	switch {
	case needed && strings.TrimSpace(text) == "":
		return Invalid(field, "missing")
	case len(text) > most:
		return Invalid(field, "longer than %d bytes", most)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return Invalid(field, "%s is no plain text", quoteShort(text))
	}
	return nil
}

// Limits of a silence.
const (
	MaxSilence       = 90 * 24 * time.Hour // a longer one is a rule that nobody wants
	MaxSilenceReason = 2000
	MaxSilenceName   = 200
)

// NoSuchIncident is the error of who names an incident that is not there.
func NoSuchIncident(id string) error {
	return &Error{Kind: KindNotFound, Field: "id", Message: fmt.Sprintf("there is no incident %s", id), Hint: "list them with: exportops alerts"}
}

// NoSuchSilence is the error of who names a silence that is not there.
func NoSuchSilence(id int64) error {
	return &Error{Kind: KindNotFound, Field: "id", Message: fmt.Sprintf("there is no silence %d", id), Hint: "list them with: exportops alerts silence ls"}
}

// IncidentFilter selects incidents. Zero fields do not filter.
type IncidentFilter struct {
	Rule   string
	Open   bool // those that are not over
	Fired  bool // those that fired at any time
	Before string
	Limit  int // 1 to MaxPage, 0 means DefaultPage
}

// AlertStore keeps incidents, each open one once for a rule and a subject, and
// silences.
type AlertStore interface {
	// OpenIncidents returns those that are not over, in the order of rule and subject.
	OpenIncidents(ctx context.Context) ([]Incident, error)
	// SaveIncident keeps a new incident, or one that was read before in place of
	// what was read, with what happened to it and what channels are to hear of it, in
	// one transaction. It answers false, and keeps nothing, where another process was
	// first: where there is an open one of the rule and subject, or one of another
	// version.
	SaveIncident(ctx context.Context, i Incident, events []IncidentEvent, tell []Notification) (bool, error)
	// Incident returns one, or KindNotFound.
	Incident(ctx context.Context, id string) (Incident, error)
	// Incidents returns a page, newest first, and the cursor of the next, "" at the
	// end.
	Incidents(ctx context.Context, f IncidentFilter) ([]Incident, string, error)
	// IncidentHistory returns what happened to an incident, oldest first.
	IncidentHistory(ctx context.Context, id string) ([]IncidentEvent, error)
	// PlaceSilence keeps a silence that was checked.
	PlaceSilence(ctx context.Context, s Silence) (Silence, error)
	// EndSilence ends one before its time; one that is over stays as it is.
	// KindNotFound where there is none.
	EndSilence(ctx context.Context, id int64, by string, now Time) (Silence, error)
	// Silences returns those that end after the given time, newest first.
	Silences(ctx context.Context, after Time) ([]Silence, error)
	// ForgetAlerts deletes incidents and silences that were over before the given
	// time, and notifications that were made before it, at most limit of each, and
	// returns how many.
	ForgetAlerts(ctx context.Context, c Checkpoint, before Time, limit int) (int64, error)
	// Backlog reads what alert rules look at beside metrics and runs.
	Backlog(ctx context.Context, b BacklogSpan) (Backlog, error)
	// Expiring returns how many completed exports with a file expire in span, held
	// ones included.
	Expiring(ctx context.Context, span Span) (int64, error)
}

// BacklogSpan says what counts in a backlog.
type BacklogSpan struct {
	Now   Time
	Stuck Time // exports in progress that were touched before
}

// Backlog is work that should have been done.
type Backlog struct {
	OldestOverdue *Time // the earliest expiry of a completed export that is over
	Quarantined   int64
	Stuck         int64
	Missing       int64
	StoredBytes   int64 // of completed exports
	// FaultyArchives are those that rows were deleted because of, and that were not
	// what was written when they were last read back; and those given up for that
	// reason since the last one that was right.
	FaultyArchives int64
}
