package alerting

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/exportops/exportops"
)

// draft is a rule that is being read from the settings, with the mistakes so far.
type draft struct {
	Change
	rule  exportops.AlertRule // the default where there is one
	added bool                // there is none
	kind  kind
	given map[string]bool
	bad   map[string]bool // fields that could not be read
	errs  []error
}

// fieldNames are all fields that there are.
var fieldNames = []string{"kind", "threshold", "clear", "window", "short_window", "min_sample", "for", "severity", "format", "user"}

func (d *draft) wrong(field, hint, format string, args ...any) {
	d.bad[field] = true
	d.errs = append(d.errs, invalid(d.Name+"."+field, fmt.Sprintf(format, args...), hint))
}

// read makes the rule of what is given.
func (d *draft) read() error {
	if err := checkName(d.Name); err != nil {
		d.errs = append(d.errs, err)
	}
	d.given = map[string]bool{}
	for _, f := range d.Fields {
		switch {
		case !slices.Contains(fieldNames, f.Name):
			d.wrong(f.Name, "use "+strings.Join(fieldNames, ", "), "there is no such field")
		case d.given[f.Name]:
			d.wrong(f.Name, "keep one of them", "it is set twice")
		}
		d.given[f.Name] = true
	}
	d.begin()
	for _, f := range d.Fields {
		if !d.bad[f.Name] {
			d.field(f.Name, f.Text)
		}
	}
	if d.kind.scale.read != nil || d.kind.state { // or nothing more can be said
		d.finish()
	}
	return errors.Join(d.errs...)
}

// begin finds out of which kind the rule is, and what holds where nothing is said.
func (d *draft) begin() {
	if !d.added {
		if d.given["kind"] {
			d.wrong("kind", "leave kind out, or give the rule a name that is no default's", "the default rule %s has its kind", d.Name)
		}
		d.rule.Source = "default, changed in " + d.Source
		d.kind = kinds[d.rule.Kind]
		return
	}
	d.rule = exportops.AlertRule{Name: d.Name, Severity: exportops.SeverityWarning, Source: d.Source}
	accepted := make([]string, len(exportops.AlertKinds))
	for n, k := range exportops.AlertKinds {
		accepted[n] = string(k)
	}
	hint := "use " + strings.Join(accepted, ", ")
	if !d.given["kind"] {
		d.wrong("kind", hint+"; the default rules are "+defaultNames(), "missing, and there is no default rule of this name")
	}
	for _, f := range d.Fields {
		if f.Name != "kind" {
			continue
		}
		d.rule.Kind = exportops.AlertKind(f.Text)
		if !slices.Contains(exportops.AlertKinds, d.rule.Kind) {
			d.wrong("kind", hint, "%q is no kind of rule", f.Text)
			d.rule.Kind = ""
		}
	}
	if d.kind = kinds[d.rule.Kind]; d.kind.minimum {
		d.rule.MinSample = leastSample
	}
}

// field reads one field.
func (d *draft) field(name, text string) {
	switch name {
	case "threshold":
		d.figure(name, text, &d.rule.Threshold)
	case "clear":
		d.figure(name, text, &d.rule.Clear)
	case "window":
		d.window(name, text, d.kind.looks[1] > 0, &d.rule.Window)
	case "short_window":
		d.window(name, text, d.kind.short, &d.rule.Short)
	case "min_sample":
		n, err := strconv.ParseInt(text, 10, 32)
		switch {
		case !d.kind.minimum && d.rule.Kind != "":
			d.wrong(name, "leave it out", "a rule of kind %s rests on no sample", d.rule.Kind)
		case err != nil || n < 1:
			d.wrong(name, "use a whole number from 1 on", "%q is no number of exports", text)
		}
		d.rule.MinSample = n
	case "for":
		const most = 7 * day
		v, ok := length(text)
		if !ok || v > most {
			d.wrong(name, "use a duration such as 10m, at most "+exportops.ShowDuration(most), "%q is not accepted", text)
		}
		d.rule.For = v
	case "severity":
		d.rule.Severity = oneOf(d, name, text, exportops.Severities)
	case "format":
		d.narrows(name)
		d.rule.Format = oneOf(d, name, text, exportops.Formats)
	case "user":
		d.narrows(name)
		id, err := exportops.ParseID(name, text)
		if err != nil { // which repeats what was given, where that is no id
			d.wrong(name, "give the user's id as export_logs has it", "it is not a UUID")
		}
		d.rule.UserID = id
	}
}

func oneOf[T ~string](d *draft, name, text string, all []T) T {
	names := make([]string, len(all))
	for n, v := range all {
		names[n] = string(v)
	}
	if !slices.Contains(names, text) {
		d.wrong(name, "use "+strings.Join(names, ", "), "%q is not accepted", text)
	}
	return T(text)
}

func (d *draft) narrows(name string) {
	if !d.kind.narrow && d.rule.Kind != "" {
		d.wrong(name, "leave it out", "a rule of kind %s is about everything", d.rule.Kind)
	}
}

func (d *draft) figure(name, text string, into *float64) {
	k := d.kind
	switch {
	case k.state:
		d.wrong(name, "leave it out", "a rule of kind %s has none", d.rule.Kind)
		return
	case k.scale.read == nil: // of no kind
		return
	}
	v, ok := k.scale.read(text)
	*into = v
	if !ok {
		d.wrong(name, "use "+k.scale.such, "%q is not accepted", text)
	}
}

func (d *draft) window(name, text string, has bool, into *time.Duration) {
	least, most := d.kind.looks[0], d.kind.looks[1]
	v, ok := length(text)
	*into = v
	span := "use a duration from " + exportops.ShowDuration(least) + " to " + exportops.ShowDuration(most)
	switch {
	case d.kind.scale.read == nil && !d.kind.state: // of no kind
	case !has:
		d.wrong(name, "leave it out", "a rule of kind %s has none", d.rule.Kind)
	case !ok:
		d.wrong(name, span, "%q is no duration", text)
	case v < least || v > most:
		d.wrong(name, span, "%s is out of what can be looked at", text)
	case d.rule.Kind == exportops.AlertSilence && v%time.Hour != 0:
		d.wrong(name, "use whole hours, such as 6h", "%s is not whole hours, by which exports are counted", text)
	}
}

// finish fills in what follows from what was given, and looks at it as a whole.
func (d *draft) finish() {
	k, r := d.kind, &d.rule
	if !k.state {
		d.thresholds()
	}
	if k.looks[1] > 0 && r.Window == 0 && !d.bad["window"] {
		d.wrong("window", "say how far back it looks, such as window: 1h", "missing")
	}
	if k.short && r.Short == 0 && !d.bad["short_window"] {
		d.wrong("short_window", "say how far back it looks to see that it goes on, such as short_window: 5m", "missing")
	}
	if k.short && r.Short >= r.Window && !d.bad["window"] && !d.bad["short_window"] {
		d.wrong("short_window", "make it shorter, such as a twelfth of the window", "%s is not shorter than the window of %s",
			exportops.ShowDuration(r.Short), exportops.ShowDuration(r.Window))
	}
	if r.UserID != "" && r.Window > mostOfUser && !d.bad["window"] {
		d.wrong("window", "use at most "+exportops.ShowDuration(mostOfUser), "%s is too long for the exports of one user, which are read row by row",
			exportops.ShowDuration(r.Window))
	}
}

func (d *draft) thresholds() {
	k, r := d.kind, &d.rule
	switch {
	case d.added && !d.given["threshold"]:
		d.wrong("threshold", "use "+k.scale.such, "missing")
		return
	case d.bad["threshold"]:
		return
	case k.below && r.Threshold <= 0, !k.below && r.Threshold >= k.most, r.Threshold > k.most:
		d.wrong("threshold", "use "+k.scale.such, "a rule with %s would never alert, or always", k.scale.write(r.Threshold))
		return
	}
	if d.given["threshold"] && !d.given["clear"] {
		r.Clear = k.eased(r.Threshold)
	}
	side, passed := "at or below", r.Clear > r.Threshold
	if k.below {
		side, passed = "at or above", r.Clear < r.Threshold || r.Clear > k.most
	}
	if passed && !d.bad["clear"] {
		d.wrong("clear", "use a value "+side+" the threshold", "%s is on the wrong side of the threshold %s", k.scale.write(r.Clear), k.scale.write(r.Threshold))
	}
}

// eased is where a rule clears that says nothing of it: a little better than where
// it alerts.
func (k kind) eased(threshold float64) float64 {
	at := threshold - k.ease*threshold
	if k.below {
		at = threshold + k.ease*(k.most-threshold)
	}
	at, _ = k.scale.read(k.scale.write(at)) // as it can be written
	return at
}
