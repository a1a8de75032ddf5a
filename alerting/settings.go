package alerting

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/exportops/exportops"
)

// Field is a field of a rule as it is written in the settings.
type Field struct{ Name, Text string }

// Change is what the settings say of one rule: of a default's name what is to be
// different, of another name all of a new rule.
type Change struct {
	Name   string
	Off    bool // there is to be no such rule
	Fields []Field
	Source string // where it is written
}

// Rules are the default rules with what the settings change, remove and add. The
// error joins one *exportops.Error for each mistake. Its Field is the rule's name,
// or that and a field's: "volume.threshold".
func Rules(changes []Change) ([]exportops.AlertRule, error) {
	rules := DefaultRules()
	var off []string
	var errs []error
	seen := map[string]bool{}
	for _, c := range changes {
		n := slices.IndexFunc(rules, func(r exportops.AlertRule) bool { return r.Name == c.Name })
		known := n >= 0
		switch {
		case seen[c.Name]:
			errs = append(errs, invalid(c.Name, "it is set twice", "keep one of them"))
			continue
		case c.Off && !known:
			errs = append(errs, invalid(c.Name, "it is off, and there is no default rule of that name", "leave it out; the defaults are "+defaultNames()))
		case c.Off:
			off = append(off, c.Name)
		default:
			d := &draft{Change: c, added: !known, bad: map[string]bool{}}
			if known {
				d.rule = rules[n]
			}
			errs = append(errs, d.read())
			if known {
				rules[n] = d.rule
			} else {
				rules = append(rules, d.rule)
			}
		}
		seen[c.Name] = true
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(rules, func(r exportops.AlertRule) bool { return slices.Contains(off, r.Name) }), nil
}

func defaultNames() string {
	rules := DefaultRules()
	names := make([]string, len(rules))
	for n, r := range rules {
		names[n] = r.Name
	}
	return strings.Join(names, ", ")
}

// Fields writes a rule as it could stand in the settings under another name, without
// what says nothing.
func Fields(r exportops.AlertRule) []Field {
	k := kinds[r.Kind]
	fields := []Field{{"kind", string(r.Kind)}}
	add := func(has bool, name, text string) {
		if has {
			fields = append(fields, Field{name, text})
		}
	}
	if !k.state {
		add(true, "threshold", k.scale.write(r.Threshold))
		add(true, "clear", k.scale.write(r.Clear))
	}
	add(r.Window > 0, "window", exportops.ShowDuration(r.Window))
	add(r.Short > 0, "short_window", exportops.ShowDuration(r.Short))
	add(k.minimum, "min_sample", strconv.FormatInt(r.MinSample, 10))
	add(r.For > 0, "for", exportops.ShowDuration(r.For))
	add(true, "severity", string(r.Severity))
	add(r.Format != "", "format", string(r.Format))
	add(r.UserID != "", "user", r.UserID)
	return fields
}

var (
	plainName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	// An id in a name would be in every incident of the rule.
	idInName = regexp.MustCompile(`[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}`)
)

const longestName = 60

func checkName(name string) error {
	switch {
	case !plainName.MatchString(name) || len(name) > longestName:
		return invalid(name, "it is no name of a rule", fmt.Sprintf("use at most %d lower-case letters, digits and single dashes, beginning with a letter", longestName))
	case idInName.MatchString(name):
		return invalid(name, "the name holds an id, which would be in incidents and messages", "name the rule after what it is for")
	}
	return nil
}

func invalid(field, message, hint string) error {
	return &exportops.Error{Kind: exportops.KindInvalid, Field: field, Message: message, Hint: hint}
}
