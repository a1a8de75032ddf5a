package exportops

// Condition is one condition of a rule, and how a row met it.
type Condition struct {
	Field string `json:"field"`
	Wants string `json:"wants"`
	Has   string `json:"has"`
	Holds bool   `json:"holds"`
}

// RuleLook is one rule that was looked at for a row.
type RuleLook struct {
	Rule       string      `json:"rule"`
	Matches    bool        `json:"matches"`
	Conditions []Condition `json:"conditions"`
}

// Explanation says what a policy decides about a row, and why.
type Explanation struct {
	Rule  string     `json:"rule"`
	Files Retention  `json:"files"`
	Logs  Retention  `json:"logs"`
	Looks []RuleLook `json:"rules"` // in order, up to the one that matches
}

// Explain is Choose with the reasons: how each rule up to the one that matches
// compares with the row.
func (p *Policy) Explain(c Candidate, now Time) Explanation {
	e := Explanation{Rule: DefaultRule, Files: p.files, Logs: p.logs, Looks: []RuleLook{}}
	for i, conditions := range p.conditions {
		look := RuleLook{Rule: p.rules[i].Name, Matches: true}
		for _, x := range conditions {
			met := Condition{Field: x.field, Wants: x.wants, Has: x.has(c, now), Holds: x.holds(c, now)}
			look.Matches = look.Matches && met.Holds
			look.Conditions = append(look.Conditions, met)
		}
		e.Looks = append(e.Looks, look)
		if look.Matches {
			e.Rule, e.Files, e.Logs = look.Rule, p.rules[i].Files, p.rules[i].Logs
			return e
		}
	}
	return e
}
