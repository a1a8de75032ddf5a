package config_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
)

const goodPolicy = `
addr: :1
retention:
  default: {files: 24h, logs: 30d}
  rules:
    - name: training sets
      match:
        format: [jsonl]
        user: 11111111-2222-4333-8444-555555555555
        status: [completed, expired]
        larger_than: 100MB
        smaller_than: 1 GiB
        older_than: 90d
        config: {scope: [all, team], full: true, version: 2, depth: 1.5}
      files: never
      logs: 365d
    - name: failures
      match: {status: failed}
      files: 1h
      logs: 1d12h
`

func TestPolicyOfTheFile(t *testing.T) {
	read, err := config.ReadFile(write(t, goodPolicy))
	if err != nil {
		t.Fatal(err)
	}
	larger, smaller := int64(100e6), int64(1<<30)
	day := 24 * time.Hour
	want, err := exportops.NewPolicy(exportops.KeepFor(day), exportops.KeepFor(30*day), []exportops.Rule{
		{Name: "training sets", Files: exportops.Never, Logs: exportops.KeepFor(365 * day), Match: exportops.Match{
			Formats: []exportops.Format{exportops.JSONL}, Users: []string{"11111111-2222-4333-8444-555555555555"},
			Statuses:   []exportops.Status{exportops.Completed, exportops.Expired},
			LargerThan: &larger, SmallerThan: &smaller, OlderThan: 90 * day,
			Config: map[string][]any{"scope": {"all", "team"}, "full": {true}, "version": {2.0}, "depth": {1.5}},
		}},
		{
			Name: "failures", Files: exportops.KeepFor(time.Hour), Logs: exportops.KeepFor(36 * time.Hour),
			Match: exportops.Match{Statuses: []exportops.Status{exportops.Failed}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if read.Policy.Hash() != want.Hash() {
		t.Errorf("it is read as another policy: %+v", read.Policy)
	}
	if read.Values["addr"] != ":1" {
		t.Errorf("beside it: %v", read.Values)
	}
	c, err := config.Settings{}.ParseBeside(read.Policy)
	if err != nil || c.Policy != read.Policy || c.FileRetention != day || c.LogRetention != 36*time.Hour {
		t.Errorf("files %s, logs %s, %v", c.FileRetention, c.LogRetention, err)
	}
}

func TestSettingsBesideAPolicyAreRefused(t *testing.T) {
	policy, err := exportops.NewPolicy(exportops.Never, exportops.Never, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The same as the default is said twice, too.
	_, err = config.Settings{FileRetention: "24h", LogRetention: "90d"}.ParseBeside(policy)
	for _, name := range []string{"EXPORT_FILE_RETENTION", "EXPORT_LOG_RETENTION"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is accepted: %v", name, err)
		}
	}
	if c, err := (config.Settings{}).ParseBeside(policy); err != nil || c.LogRetention != exportops.MaxRetention {
		t.Errorf("%s, %v", c.LogRetention, err)
	}
}

// mistakes returns what an error says, a line each.
func mistakes(err error) []string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []string
		for _, e := range joined.Unwrap() {
			all = append(all, mistakes(e)...)
		}
		return all
	}
	var e *exportops.Error
	if errors.As(err, &e) {
		return []string{e.Field[strings.LastIndexByte(e.Field, ':')+1:] + ": " + e.Message}
	}
	return nil
}

func TestMistakesInThePolicyHaveTheirLines(t *testing.T) {
	const rule = "retention:\n  default: {files: 24h, logs: 30d}\n  rules:\n    - name: a\n      files: 1h\n      logs: 1d\n      match:\n"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"empty":               {"retention:\n", []string{"1: retention is not a list of keys and values"}},
		"a value":             {"retention: 30d\n", []string{"1: retention is not a list of keys and values"}},
		"no default":          {"retention:\n  rules:\n    - {name: a, match: {format: csv}, files: 1h, logs: 1d}\n", []string{"2: retention has no default"}},
		"half a default":      {"retention:\n  default: {files: 24h}\n", []string{"2: default.logs: missing"}},
		"an unknown section":  {"retention:\n  standard: {files: 24h, logs: 30d}\n", []string{`2: there is no setting "standard"`, "2: retention has no default"}},
		"twice":               {"retention: {default: {files: 24h, logs: 30d}}\nretention: {default: {files: 24h, logs: 30d}}\n", []string{"2: retention is set twice"}},
		"a default twice":     {"retention:\n  default: {files: 24h, logs: 30d}\n  default: {files: 24h, logs: 30d}\n", []string{"3: default is set twice"}},
		"no duration":         {"retention:\n  default: {files: forever, logs: 0}\n", []string{`2: files: "forever" is not a duration`, `2: logs: "0" is not a duration`}},
		"a null is not never": {"retention:\n  default: {files: ~, logs: 30d}\n", []string{"2: files is not one value"}},
		"out of range":        {"retention:\n  default:\n    files: 1m\n    logs: 99999d\n", []string{"3: default.files: 1m is out of range", "4: default.logs: 73000d is out of range"}},
		"no rules":            {"retention:\n  default: {files: 24h, logs: 30d}\n  rules: []\n", []string{"3: rules is not a list"}},
		"a rule without a thing": {
			"retention:\n  default: {files: 24h, logs: 30d}\n  rules:\n    - name: a\n    - files: 1h\n",
			[]string{
				`4: rule "a": match: it asks for nothing, so it would match every export`, `4: rule "a": files: missing`, `4: rule "a": logs: missing`,
				`5: a rule: name: missing`, `5: a rule: match: it asks for nothing, so it would match every export`, `5: a rule: logs: missing`,
			},
		},
		"a name twice":           {rule + "        format: csv\n    - {name: a, match: {format: csv}, files: 1h, logs: 1d}\n", []string{`9: rule "a": name: rule 1 has this name too`}},
		"an unknown condition":   {rule + "        formats: csv\n", []string{`8: there is no setting "formats"`}},
		"an unknown format":      {rule + "        format: [csv, xml]\n", []string{`8: rule "a": match.format: "xml" is not one of json, jsonl, csv, markdown`}},
		"an unknown status":      {rule + "        status: done\n", []string{`8: rule "a": match.status: "done" is not one of queued, processing, completed, failed, expired`}},
		"no user":                {rule + "        user: alice\n", []string{`8: rule "a": match.user: "alice" is not a UUID such as 7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b`}},
		"an empty list":          {rule + "        format: []\n", []string{"8: format names no value"}},
		"no size":                {rule + "        larger_than: big\n        smaller_than: 1.5GB\n", []string{`8: larger_than: "big" is not a size`, `9: smaller_than: "1.5GB" is not a size`}},
		"a size beyond all":      {rule + "        larger_than: 9999999TiB\n", []string{`8: larger_than: "9999999TiB" is not a size`}},
		"sizes that exclude all": {rule + "        larger_than: 1kB\n        smaller_than: 1001\n", []string{`9: rule "a": match.smaller_than: no size is larger than 1000 and smaller than 1001 bytes`}},
		"no age":                 {rule + "        older_than: never\n", []string{`8: older_than: "never" is not a duration`}},
		"no config":              {rule + "        config: all\n", []string{"8: config is not a list of keys and values"}},
		"a config without value": {rule + "        config:\n          scope: ~\n          list: []\n", []string{"9: config.scope cannot be compared with this", `10: rule "a": match.config.list: it names no value`}},
		"a config key twice":     {rule + "        config: {scope: a, scope: b}\n", []string{"8: scope is set twice"}},
		"a number beyond exact":  {rule + "        config: {n: 9007199254740993}\n", []string{`8: rule "a": match.config.n: 9.007199254740992e+15 is too large to be compared exactly`}},
	} {
		t.Run(name, func(t *testing.T) {
			read, err := config.ReadFile(write(t, c.text))
			if d := cmp.Diff(c.want, mistakes(err)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if read.Policy != nil && !strings.Contains(name, "twice") {
				t.Errorf("a policy is returned all the same")
			}
		})
	}
}
