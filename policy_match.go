package exportops

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Match says which exports a rule is about: those that meet every condition
// that is set, and of a list at least one value. What a row does not say, or says
// in a way that cannot be read, meets no condition that asks for it.
type Match struct {
	Formats     []Format         `json:"format,omitempty"`
	Users       []string         `json:"user,omitempty"`
	Statuses    []Status         `json:"status,omitempty"`
	LargerThan  *int64           `json:"larger_than,omitempty"`  // bytes
	SmallerThan *int64           `json:"smaller_than,omitempty"` // bytes
	OlderThan   time.Duration    `json:"older_than,omitempty"`   // since the row's timestamp
	Config      map[string][]any `json:"config,omitempty"`       // by key: texts, booleans and numbers (float64)
}

// ConfigValues is what an export's config says under some of its keys: texts,
// booleans and numbers (float64). Nil where it cannot be read.
type ConfigValues map[string]any

// ReadConfig reads the given keys of a config. Lists, objects and null are left
// out, as no rule can ask for them.
func ReadConfig(text []byte, keys []string) ConfigValues {
	var all map[string]json.RawMessage
	if len(keys) == 0 || len(text) > MaxConfigBytes || json.Unmarshal(text, &all) != nil || all == nil {
		return nil
	}
	out := ConfigValues{}
	for _, key := range keys {
		var v any
		raw := bytes.TrimSpace(all[key])
		if len(raw) == 0 || json.Unmarshal(raw, &v) != nil {
			continue
		}
		switch v.(type) {
		case string, bool, float64:
			out[key] = v
		}
	}
	return out
}

// condition is one condition of a rule.
type condition struct {
	field, wants string
	holds        func(c Candidate, now Time) bool
	has          func(c Candidate, now Time) string
}

// conditions are all that m sets, in a fixed order.
func (m Match) conditions() (all []condition) {
	add := func(field, wants string, holds func(Candidate, Time) bool, has func(Candidate, Time) string) {
		all = append(all, condition{field, wants, holds, has})
	}
	if len(m.Formats) > 0 {
		add("format", oneOf(m.Formats), func(c Candidate, _ Time) bool { return slices.Contains(m.Formats, c.Format) },
			func(c Candidate, _ Time) string { return quoted(string(c.Format)) })
	}
	if len(m.Users) > 0 {
		add("user", oneOf(m.Users),
			func(c Candidate, _ Time) bool {
				return slices.ContainsFunc(m.Users, func(u string) bool { return strings.EqualFold(u, c.UserID) })
			},
			func(c Candidate, _ Time) string { return quoted(c.UserID) })
	}
	if len(m.Statuses) > 0 {
		add("status", oneOf(m.Statuses), func(c Candidate, _ Time) bool { return slices.Contains(m.Statuses, c.Status) },
			func(c Candidate, _ Time) string { return quoted(string(c.Status)) })
	}
	if m.LargerThan != nil {
		add("larger_than", strconv.FormatInt(*m.LargerThan, 10)+" bytes",
			func(c Candidate, _ Time) bool { return c.FileSize != nil && *c.FileSize > *m.LargerThan }, sizeOf)
	}
	if m.SmallerThan != nil {
		add("smaller_than", strconv.FormatInt(*m.SmallerThan, 10)+" bytes",
			func(c Candidate, _ Time) bool {
				return c.FileSize != nil && *c.FileSize >= 0 && *c.FileSize < *m.SmallerThan
			}, sizeOf)
	}
	if m.OlderThan > 0 {
		add("older_than", ShowDuration(m.OlderThan), func(c Candidate, now Time) bool {
			asked, ok := ParseStoredTime(c.Timestamp)
			return ok && asked.Before(now.Add(-m.OlderThan))
		}, ageOf)
	}
	for _, key := range slices.Sorted(maps.Keys(m.Config)) {
		values := m.Config[key]
		add("config."+key, oneOf(texts(values)),
			func(c Candidate, _ Time) bool { v, ok := c.Config[key]; return ok && slices.Contains(values, v) },
			func(c Candidate, _ Time) string { return c.Config.show(key) })
	}
	return all
}

func sizeOf(c Candidate, _ Time) string {
	if c.FileSize == nil {
		return "unknown"
	}
	return strconv.FormatInt(*c.FileSize, 10) + " bytes"
}

func ageOf(c Candidate, now Time) string {
	asked, ok := ParseStoredTime(c.Timestamp)
	if !ok {
		return "unreadable"
	}
	return ShowDuration(now.Sub(asked.Time).Truncate(time.Second))
}

func (v ConfigValues) show(key string) string {
	value, ok := v[key]
	switch {
	case v == nil:
		return "unreadable"
	case !ok:
		return "nothing that can be compared"
	}
	return quoted(texts([]any{value})[0])
}

func texts(values []any) []string {
	out := make([]string, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case string:
			out[i] = v
		case bool:
			out[i] = strconv.FormatBool(v)
		case float64:
			out[i] = strconv.FormatFloat(v, 'g', -1, 64)
		}
	}
	return out
}

func oneOf[T ~string](all []T) string {
	list := make([]string, len(all))
	for i, v := range all {
		list[i] = quoted(string(v))
	}
	return strings.Join(list, " or ")
}

// quoted shows a value that any program may have written, quoted only where it
// would not be plain otherwise.
func quoted(s string) string {
	if s == "" || len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }) {
		return quoteShort(s)
	}
	return s
}
