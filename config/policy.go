package config

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/exportops/exportops"
)

// policyKey is the one section of the settings file.
const policyKey = "retention"

// policyReader reads the retention section. It keeps every mistake with the line
// it is on.
type policyReader struct {
	path  string
	lines map[string]int // by the path of a value within the section
	names map[string]string
	bad   map[string]bool // paths of what could not be read
	errs  []error
}

// readPolicy reads the section: what it says must be complete, as a policy that
// is half understood deletes too much.
func readPolicy(path string, section *yaml.Node) (*exportops.Policy, error) {
	r := &policyReader{path: path, lines: map[string]int{}, names: map[string]string{}, bad: map[string]bool{}}
	var files, logs exportops.Retention
	var rules []exportops.Rule
	found := false
	r.fields(section, policyKey, "", map[string]func(*yaml.Node, string){
		"default": func(n *yaml.Node, at string) {
			found = true
			r.fields(n, "default", at+".", map[string]func(*yaml.Node, string){
				"files": func(n *yaml.Node, at string) { files = r.retention(n, at) },
				"logs":  func(n *yaml.Node, at string) { logs = r.retention(n, at) },
			})
		},
		"rules": func(n *yaml.Node, at string) { rules = r.rules(n, at) },
	})
	if !found && section.Kind == yaml.MappingNode {
		r.wrong(section, "retention has no default", "say what holds where no rule matches: default: {files: 24h, logs: 30d}")
	}
	if len(r.errs) > 0 && !found {
		return nil, errors.Join(r.errs...)
	}
	policy, err := exportops.NewPolicy(files, logs, rules)
	if err := errors.Join(append(r.errs, r.located(section, err)...)...); err != nil {
		return nil, err
	}
	return policy, nil
}

// located gives the mistakes in what was read their lines.
func (r *policyReader) located(section *yaml.Node, err error) (errs []error) {
	var joined interface{ Unwrap() []error }
	if err == nil {
		return nil
	}
	if errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			errs = append(errs, r.located(section, e)...)
		}
		return errs
	}
	var e *exportops.Error
	if !errors.As(err, &e) {
		return []error{err}
	}
	if r.bad[e.Field] {
		return nil // it could not be read, so of course it is missing
	}
	line := section.Line
	for at := e.Field; at != ""; at = parent(at) {
		if n, ok := r.lines[at]; ok {
			line = n
			break
		}
	}
	what := e.Field
	if i := strings.IndexByte(what, ']'); i >= 0 {
		what = strings.TrimPrefix(what[i+1:], ".")
		if name := r.names[e.Field[:i+1]]; name != "" {
			what = fmt.Sprintf("rule %q: %s", name, what)
		} else {
			what = "a rule: " + what
		}
	}
	return []error{invalid(r.at(line), what+": "+e.Message, e.Hint)}
}

// parent cuts the last part of a path off.
func parent(at string) string {
	return at[:max(strings.LastIndexAny(at, ".["), 0)]
}

func (r *policyReader) at(line int) string { return fmt.Sprintf("%s:%d", r.path, line) }

func (r *policyReader) wrong(n *yaml.Node, message, hint string) {
	r.errs = append(r.errs, invalid(r.at(n.Line), message, hint))
}

// fields hands each value of a mapping to its reader, with its path.
func (r *policyReader) fields(n *yaml.Node, name, prefix string, readers map[string]func(n *yaml.Node, at string)) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		r.wrong(n, name+" is not a list of keys and values", "exportops.example.yaml shows how it is written")
		return
	}
	known := map[string]string{}
	for key := range readers {
		known[key] = ""
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := readers[key.Value]
		switch {
		case !ok:
			r.errs = append(r.errs, unknownKey(r.at(key.Line), key.Value, known))
		case seen[key.Value]:
			r.wrong(key, key.Value+" is set twice", "keep one of them")
		default:
			seen[key.Value] = true
			r.lines[prefix+key.Value] = key.Line
			known := len(r.errs)
			read(value, prefix+key.Value)
			r.bad[prefix+key.Value] = len(r.errs) > known
		}
	}
}

func (r *policyReader) rules(n *yaml.Node, at string) (rules []exportops.Rule) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.wrong(n, "rules is not a list", "begin each rule with a dash, or leave rules out")
		return nil
	}
	for i, item := range n.Content {
		var rule exportops.Rule
		at := fmt.Sprintf("%s[%d]", at, i)
		r.lines[at] = item.Line
		r.fields(item, "a rule", at+".", map[string]func(*yaml.Node, string){
			"name":  func(n *yaml.Node, _ string) { rule.Name = r.text(n, "name"); r.names[at] = rule.Name },
			"match": func(n *yaml.Node, at string) { rule.Match = r.match(n, at) },
			"files": func(n *yaml.Node, at string) { rule.Files = r.retention(n, at) },
			"logs":  func(n *yaml.Node, at string) { rule.Logs = r.retention(n, at) },
		})
		rules = append(rules, rule)
	}
	return rules
}

func (r *policyReader) match(n *yaml.Node, at string) (m exportops.Match) {
	r.fields(n, "match", at+".", map[string]func(*yaml.Node, string){
		"format": func(n *yaml.Node, _ string) { m.Formats = listOf[exportops.Format](r, n, "format") },
		"user":   func(n *yaml.Node, _ string) { m.Users = listOf[string](r, n, "user") },
		"status": func(n *yaml.Node, _ string) { m.Statuses = listOf[exportops.Status](r, n, "status") },
		"larger_than": func(n *yaml.Node, _ string) {
			m.LargerThan = r.size(n, "larger_than")
		},
		"smaller_than": func(n *yaml.Node, _ string) {
			m.SmallerThan = r.size(n, "smaller_than")
		},
		"older_than": func(n *yaml.Node, _ string) { m.OlderThan = r.duration(n, "older_than") },
		"config": func(n *yaml.Node, at string) {
			if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
				r.wrong(n, "config is not a list of keys and values", "name a key of the export's config and its value: config: {scope: all}")
				return
			}
			m.Config = r.config(n, at)
		},
	})
	return m
}

func (r *policyReader) config(n *yaml.Node, at string) map[string][]any {
	values := map[string][]any{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if _, twice := values[key.Value]; twice {
			r.wrong(key, key.Value+" is set twice", "keep one of them; several values go in brackets")
			continue
		}
		r.lines[at+"."+key.Value] = key.Line
		values[key.Value] = []any{}
		for _, item := range items(value) {
			v, ok := r.scalar(item)
			if !ok {
				r.bad[at+"."+key.Value] = true
				r.wrong(item, fmt.Sprintf("config.%s cannot be compared with this", key.Value), "use a text, a number, true or false")
				continue
			}
			values[key.Value] = append(values[key.Value], v)
		}
	}
	return values
}
