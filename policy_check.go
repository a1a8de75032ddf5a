package exportops

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// The limits of a policy. Each row is held against each rule.
const (
	MaxRules       = 100
	MaxRuleName    = 100
	MaxMatchValues = 1000
)

// checkRules reports every mistake in the rules of a policy.
func checkRules(rules []Rule) (errs []error) {
	if len(rules) > MaxRules {
		errs = append(errs, Invalid("rules", "%d rules are more than %d", len(rules), MaxRules))
	}
	names := map[string]int{DefaultRule: 0}
	for i, r := range rules {
		at := fmt.Sprintf("rules[%d].", i)
		first, taken := names[r.Name]
		switch {
		case r.Name == "":
			errs = append(errs, hinted(at+"name", "missing", "give each rule a name of its own"))
		case len(r.Name) > MaxRuleName:
			errs = append(errs, Invalid(at+"name", "%s is longer than %d bytes", quoteShort(r.Name), MaxRuleName))
		case taken && r.Name == DefaultRule:
			errs = append(errs, hinted(at+"name", "default is what no rule matches", "give the rule another name"))
		case taken:
			errs = append(errs, hinted(at+"name", fmt.Sprintf("rule %d has this name too", first), "give each rule a name of its own"))
		default:
			names[r.Name] = i + 1
		}
		errs = append(errs, r.Match.check(at+"match")...)
		errs = append(errs, checkRetentions(at, r.Files, r.Logs))
	}
	return errs
}

func hinted(field, message, hint string) error {
	return &Error{Kind: KindInvalid, Field: field, Message: message, Hint: hint}
}

// check reports every mistake in m, whose path is at.
func (m Match) check(at string) (errs []error) {
	if len(m.conditions()) == 0 {
		errs = append(errs, hinted(at, "it asks for nothing, so it would match every export", "say what the rule is about, or change the default"))
	}
	for _, f := range m.Formats {
		errs = append(errs, checkOneOf(at+".format", f, Formats))
	}
	for _, s := range m.Statuses {
		errs = append(errs, checkOneOf(at+".status", s, Statuses))
	}
	for _, u := range m.Users {
		if _, err := ParseID(at+".user", u); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, checkMany(at+".format", len(m.Formats)), checkMany(at+".user", len(m.Users)), checkMany(at+".status", len(m.Statuses)))
	errs = append(errs, checkCount(at+".larger_than", m.LargerThan, 1<<62), checkCount(at+".smaller_than", m.SmallerThan, 1<<62))
	if m.LargerThan != nil && m.SmallerThan != nil && *m.SmallerThan-1 <= *m.LargerThan {
		errs = append(errs, Invalid(at+".smaller_than", "no size is larger than %d and smaller than %d bytes", *m.LargerThan, *m.SmallerThan))
	}
	if m.OlderThan < 0 || m.OlderThan > MaxRetention || (m.OlderThan > 0 && m.OlderThan < time.Second) {
		errs = append(errs, Invalid(at+".older_than", "%s is not between 1s and %s", m.OlderThan, ShowDuration(MaxRetention)))
	}
	for _, key := range slices.Sorted(maps.Keys(m.Config)) {
		errs = append(errs, checkConfigValues(at+".config."+key, m.Config[key])...)
	}
	return errs
}

func checkMany(field string, n int) error {
	if n > MaxMatchValues {
		return Invalid(field, "%d values are more than %d", n, MaxMatchValues)
	}
	return nil
}

func checkConfigValues(field string, values []any) []error {
	if len(values) == 0 {
		return []error{hinted(field, "it names no value", "give it a value, or several in brackets")}
	}
	errs := []error{checkMany(field, len(values))}
	for _, v := range values {
		switch v := v.(type) {
		case string, bool:
		case float64:
			// Beyond this, different numbers would compare as equal.
			const most = 1 << 53
			if !(v > -most && v < most) {
				errs = append(errs, Invalid(field, "%v is too large to be compared exactly", v))
			}
		default:
			errs = append(errs, Invalid(field, "only texts, numbers, true and false can be compared"))
		}
	}
	return errs
}
