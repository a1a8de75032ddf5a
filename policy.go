package exportops

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// DefaultRule is the name under which a policy's default appears beside its
// rules.
const DefaultRule = "default"

// Rule says how long the files and the log rows of some exports are kept.
type Rule struct {
	Name  string    `json:"name"`
	Match Match     `json:"match"`
	Files Retention `json:"files"` // from completion
	Logs  Retention `json:"logs"`  // from the row's timestamp
}

// Policy is an ordered list of rules with a default: the first rule that
// matches an export decides. It never changes once made, and is safe for
// concurrent use. The nil policy has no say.
type Policy struct {
	files, logs Retention // by default
	rules       []Rule
	conditions  [][]condition // of each rule
	keys        []string      // of configs that any rule asks for
	hash        string
}

// Choice is what a policy says about one export.
type Choice struct {
	Rule    string // the name of the rule, or DefaultRule
	Default bool   // no rule matches
	Files   Retention
	Logs    Retention
}

// NewPolicy makes a policy. The error joins one for each mistake, whose Field is
// the path of what is wrong, such as rules[0].match.format.
func NewPolicy(files, logs Retention, rules []Rule) (*Policy, error) {
	p := &Policy{files: files, logs: logs, rules: slices.Clone(rules)}
	if err := errors.Join(checkRetentions("default.", files, logs), errors.Join(checkRules(rules)...)); err != nil {
		return nil, err
	}
	for _, r := range p.rules {
		p.conditions = append(p.conditions, r.Match.conditions())
		for key := range r.Match.Config {
			if !slices.Contains(p.keys, key) {
				p.keys = append(p.keys, key)
			}
		}
	}
	slices.Sort(p.keys)
	b, err := json.Marshal(struct {
		Files, Logs Retention
		Rules       []Rule
	}{files, logs, p.rules})
	if err != nil {
		return nil, err // nothing in a valid policy cannot be written
	}
	sum := sha256.Sum256(b)
	p.hash = hex.EncodeToString(sum[:6])
	return p, nil
}

// Hash names the policy in the record of a run: another policy has another.
func (p *Policy) Hash() string {
	if p == nil {
		return ""
	}
	return p.hash
}

// ConfigKeys names the keys of exports' configs that the rules ask for.
func (p *Policy) ConfigKeys() []string {
	if p == nil {
		return nil
	}
	return slices.Clone(p.keys)
}

// Names lists the rules in their order, and the default at the end.
func (p *Policy) Names() []string {
	names := make([]string, 0, len(p.rules)+1)
	for _, r := range p.rules {
		names = append(names, r.Name)
	}
	return append(names, DefaultRule)
}

// Choose says what holds for a row as it is now.
func (p *Policy) Choose(c Candidate, now Time) Choice {
	for i, conditions := range p.conditions {
		if !slices.ContainsFunc(conditions, func(x condition) bool { return !x.holds(c, now) }) {
			r := p.rules[i]
			return Choice{Rule: r.Name, Files: r.Files, Logs: r.Logs}
		}
	}
	return Choice{Rule: DefaultRule, Default: true, Files: p.files, Logs: p.logs}
}

// LogDue reports whether the policy lets a log row go: its rule's log retention
// is over. A row whose age cannot be read never is old enough.
func (p *Policy) LogDue(c Candidate, now Time) bool {
	if p == nil {
		return true
	}
	asked, ok := ParseStoredTime(c.Timestamp)
	if !ok {
		return false
	}
	due, ever := p.Choose(c, now).Logs.After(asked)
	return ever && due.Before(now.Time)
}

// ShortestLogs is the least log retention of all rules and the default, Never
// when no row ever goes: nothing younger can be due.
func (p *Policy) ShortestLogs() Retention { return slices.MinFunc(p.allLogs(), Retention.compare) }

// LongestLogs is the greatest one.
func (p *Policy) LongestLogs() Retention { return slices.MaxFunc(p.allLogs(), Retention.compare) }

// LongestFinite is the greatest log retention that is not Never, 0 when none is.
func (p *Policy) LongestFinite() time.Duration {
	var longest time.Duration
	for _, r := range p.allLogs() {
		if d, finite := r.Length(); finite {
			longest = max(longest, d)
		}
	}
	return longest
}

// Default returns the retentions of exports that no rule matches.
func (p *Policy) Default() (files, logs Retention) { return p.files, p.logs }

func (p *Policy) allLogs() []Retention {
	all := append(make([]Retention, 0, len(p.rules)+1), p.logs)
	for _, r := range p.rules {
		all = append(all, r.Logs)
	}
	return all
}

// compare orders by length, Never last.
func (r Retention) compare(o Retention) int {
	switch {
	case r.never && o.never:
		return 0
	case r.never:
		return 1
	case o.never:
		return -1
	}
	return cmp.Compare(r.length, o.length)
}
