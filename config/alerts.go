package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/alerting"
)

// alertsKey is the section of alert rules.
const alertsKey = "alerts"

// ruleReader reads the section alerts, with the line of every rule and field.
type ruleReader struct {
	path  string
	rules map[string]int  // lines, by name
	lines map[string]int  // of fields, by name.field
	bad   map[string]bool // fields that could not be read
	errs  []error
}

func (r *ruleReader) wrong(n *yaml.Node, message, hint string) {
	r.errs = append(r.errs, invalid(fmt.Sprintf("%s:%d", r.path, n.Line), message, hint))
}

// readRules returns the rules that hold: the default ones as the section changes
// them, and those it adds.
func readRules(path string, section *yaml.Node) ([]exportops.AlertRule, error) {
	r := &ruleReader{path: path, rules: map[string]int{}, lines: map[string]int{}, bad: map[string]bool{}}
	var changes []alerting.Change
	if section.Kind != yaml.MappingNode || len(section.Content) == 0 {
		r.wrong(section, "alerts is not a list of rules by name", "write one rule a line: volume: {threshold: 5000}, or volume: off")
	} else {
		for i := 0; i+1 < len(section.Content); i += 2 {
			if c, ok := r.change(section.Content[i], section.Content[i+1]); ok {
				changes = append(changes, c)
			}
		}
	}
	rules, err := alerting.Rules(changes)
	if err := errors.Join(append(r.errs, r.located(err)...)...); err != nil {
		return nil, err
	}
	return rules, nil
}

// change reads one rule; false where nothing can be made of it.
func (r *ruleReader) change(key, value *yaml.Node) (alerting.Change, bool) {
	c := alerting.Change{Name: key.Value, Source: fmt.Sprintf("%s:%d", filepath.Base(r.path), key.Line)}
	if _, twice := r.rules[c.Name]; twice {
		r.wrong(key, fmt.Sprintf("rule %q: it is set twice", c.Name), "keep one of them")
		return c, false
	}
	r.rules[c.Name] = key.Line
	if value.Kind == yaml.ScalarNode && value.Value == "off" {
		c.Off = true
		return c, true
	}
	if value.Kind != yaml.MappingNode || len(value.Content) == 0 {
		r.wrong(key, fmt.Sprintf("rule %q: it is neither off nor a list of fields", c.Name), "write {threshold: 20%, for: 10m}, or off for no such rule")
		return c, false
	}
	for i := 0; i+1 < len(value.Content); i += 2 {
		name, text := value.Content[i], value.Content[i+1]
		at := c.Name + "." + name.Value
		r.lines[at] = max(r.lines[at], name.Line)
		if text.Kind != yaml.ScalarNode || text.Tag == "!!null" {
			r.wrong(name, fmt.Sprintf("rule %q: %s is not one value", c.Name, name.Value), "write "+name.Value+": value")
			r.bad[at] = true
		}
		c.Fields = append(c.Fields, alerting.Field{Name: name.Value, Text: text.Value})
	}
	return c, true
}

// located gives the mistakes in rules their lines.
func (r *ruleReader) located(err error) (errs []error) {
	var e *exportops.Error
	switch all := err.(type) { //nolint:errorlint // this walks the tree itself
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		for _, inner := range all.Unwrap() {
			errs = append(errs, r.located(inner)...)
		}
		return errs
	}
	if !errors.As(err, &e) {
		return []error{err}
	}
	if r.bad[e.Field] {
		return nil // that it cannot be read has been said
	}
	name, field, line := e.Field, "", r.rules[e.Field]
	if line == 0 {
		dot := strings.LastIndexByte(e.Field, '.')
		name, field, line = e.Field[:dot], e.Field[dot+1:]+": ", r.lines[e.Field]
	}
	if line == 0 { // of what is missing
		line = r.rules[name]
	}
	return []error{invalid(fmt.Sprintf("%s:%d", r.path, line), fmt.Sprintf("rule %q: %s%s", name, field, e.Message), e.Hint)}
}
