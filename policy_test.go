package exportops_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/exportops/exportops"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	oneDay = 24 * time.Hour
	alice  = "11111111-2222-4333-8444-555555555555"
	bob    = "11111111-2222-4333-8444-666666666666"
)

var policyNow = exportops.Time{Time: time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC)}

func ptr[T any](v T) *T { return &v }

// trainingSets is a policy with every kind of condition.
func trainingSets(t testing.TB) *exportops.Policy {
	t.Helper()
	p, err := exportops.NewPolicy(exportops.KeepFor(oneDay), exportops.KeepFor(30*oneDay), []exportops.Rule{
		{
			Name: "training sets", Files: exportops.Never, Logs: exportops.KeepFor(365 * oneDay),
			Match: exportops.Match{
				Formats: []exportops.Format{exportops.JSONL}, Users: []string{alice}, Statuses: []exportops.Status{exportops.Completed},
				LargerThan: ptr(int64(1000)), SmallerThan: ptr(int64(5000)), OlderThan: 2 * oneDay,
				Config: map[string][]any{"scope": {"all", "team"}, "version": {2.0}},
			},
		},
		{
			Name: "failures", Files: exportops.KeepFor(time.Hour), Logs: exportops.KeepFor(7 * oneDay),
			Match: exportops.Match{Statuses: []exportops.Status{exportops.Failed}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// training is a row that meets every condition of the first rule.
func training() exportops.Candidate {
	return exportops.Candidate{
		ID: "1", ExportID: "2", UserID: alice, Status: exportops.Completed, Format: exportops.JSONL, FileSize: ptr(int64(2000)),
		Timestamp: exportops.At(policyNow.Add(-3 * oneDay)).String(),
		Config:    exportops.ConfigValues{"scope": "team", "version": 2.0},
	}
}

func TestPolicyMatchesOnlyWhatMeetsEveryCondition(t *testing.T) {
	p := trainingSets(t)
	for name, c := range map[string]struct {
		change func(*exportops.Candidate)
		want   string
	}{
		"all_hold":                      {func(*exportops.Candidate) {}, "training sets"},
		"another_format":                {func(c *exportops.Candidate) { c.Format = exportops.CSV }, "default"},
		"a_user_in_capitals":            {func(c *exportops.Candidate) { c.UserID = strings.ToUpper(alice) }, "training sets"},
		"another_user":                  {func(c *exportops.Candidate) { c.UserID = bob }, "default"},
		"a_failed_export":               {func(c *exportops.Candidate) { c.Status = exportops.Failed }, "failures"},
		"just_too_small":                {func(c *exportops.Candidate) { *c.FileSize = 1000 }, "default"},
		"just_large_enough":             {func(c *exportops.Candidate) { *c.FileSize = 1001 }, "training sets"},
		"just_too_large":                {func(c *exportops.Candidate) { *c.FileSize = 5000 }, "default"},
		"no_size":                       {func(c *exportops.Candidate) { c.FileSize = nil }, "default"},
		"just_old_enough":               {func(c *exportops.Candidate) { c.Timestamp = exportops.At(policyNow.Add(-2*oneDay - 1)).String() }, "training sets"},
		"just_too_young":                {func(c *exportops.Candidate) { c.Timestamp = exportops.At(policyNow.Add(-2 * oneDay)).String() }, "default"},
		"a_time_that_cannot_be_read":    {func(c *exportops.Candidate) { c.Timestamp = "yesterday" }, "default"},
		"a_config_that_cannot_be_read":  {func(c *exportops.Candidate) { c.Config = nil }, "default"},
		"a_config_without_the_key":      {func(c *exportops.Candidate) { delete(c.Config, "version") }, "default"},
		"a_config_with_another_value":   {func(c *exportops.Candidate) { c.Config["scope"] = "one" }, "default"},
		"a_config_with_text_for_number": {func(c *exportops.Candidate) { c.Config["version"] = "2" }, "default"},
	} {
		t.Run(name, func(t *testing.T) {
			row := training()
			c.change(&row)
			if got := p.Choose(row, policyNow); got.Rule != c.want || got.Default != (c.want == "default") {
				t.Errorf("got %+v, want %s", got, c.want)
			}
		})
	}
}

func TestPolicySaysWhenALogRowMayGo(t *testing.T) {
	old := func(d time.Duration) func(*exportops.Candidate) {
		return func(c *exportops.Candidate) { c.Timestamp = exportops.At(policyNow.Add(-d)).String() }
	}
	failed := func(d time.Duration) func(*exportops.Candidate) {
		return func(c *exportops.Candidate) { old(d)(c); c.Status = exportops.Failed }
	}
	ever, err := exportops.NewPolicy(exportops.Never, exportops.Never, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		policy *exportops.Policy
		change func(*exportops.Candidate)
		want   bool
	}{
		"keeps_a_year_what_the_first_rule_matches": {trainingSets(t), old(364 * oneDay), false},
		"keeps_it_to_the_last_moment":              {trainingSets(t), old(365 * oneDay), false},
		"lets_it_go_after":                         {trainingSets(t), old(365*oneDay + time.Millisecond), true},
		"lets_a_failure_go_after_a_week":           {trainingSets(t), failed(8 * oneDay), true},
		"keeps_a_younger_failure":                  {trainingSets(t), failed(6 * oneDay), false},
		"keeps_what_has_no_readable_time":          {trainingSets(t), func(c *exportops.Candidate) { c.Timestamp = "1" }, false},
		"never_means_never":                        {ever, old(99 * 365 * oneDay), false},
		"has_no_say_where_there_is_none":           {nil, old(0), true},
	} {
		t.Run(name, func(t *testing.T) {
			row := training()
			c.change(&row)
			if got := c.policy.LogDue(row, policyNow); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestLogCleanupLeavesTheFilesOfRowsThatThePolicyKeeps(t *testing.T) {
	row := training()
	row.Status, row.FileURL = exportops.Failed, ptr("a")
	sel := exportops.Selection{Mode: exportops.ByLogCleanup, Now: policyNow, Cut: policyNow, Policy: trainingSets(t)}
	if got := sel.Judge(row); got != exportops.NotDue {
		t.Errorf("three days old, to be kept for seven: %s", got)
	}
	row.Timestamp = exportops.At(policyNow.Add(-8 * oneDay)).String()
	if got := sel.Judge(row); got != exportops.Due {
		t.Errorf("eight days old: %s", got)
	}
}

func TestPolicyBounds(t *testing.T) {
	p := trainingSets(t)
	if got := []string{p.ShortestLogs().String(), p.LongestLogs().String(), exportops.ShowDuration(p.LongestFinite())}; !slices.Equal(got, []string{"7d", "365d", "365d"}) {
		t.Errorf("got %q", got)
	}
	p, err := exportops.NewPolicy(exportops.Never, exportops.KeepFor(30*oneDay), []exportops.Rule{{
		Name: "a", Match: exportops.Match{Formats: exportops.Formats[:1]}, Files: exportops.Never, Logs: exportops.Never,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := []string{p.ShortestLogs().String(), p.LongestLogs().String(), exportops.ShowDuration(p.LongestFinite())}; !slices.Equal(got, []string{"30d", "never", "30d"}) {
		t.Errorf("got %q", got)
	}
}

// TestExplanations pins what an operator reads.
func TestExplanations(t *testing.T) {
	p := trainingSets(t)
	for name, change := range map[string]func(*exportops.Candidate){
		"first":  func(*exportops.Candidate) {},
		"second": func(c *exportops.Candidate) { c.Status = exportops.Failed },
		"none":   func(c *exportops.Candidate) { c.Format, c.Config = exportops.CSV, nil },
		"unreadable": func(c *exportops.Candidate) {
			*c = exportops.Candidate{Format: "x\ny", Config: exportops.ConfigValues{}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			row := training()
			change(&row)
			got, err := json.MarshalIndent(p.Explain(row, policyNow), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "policy", name+".golden"), string(got)+"\n")
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func TestMistakesInAPolicyAreAllNamed(t *testing.T) {
	good := exportops.Match{Formats: []exportops.Format{exportops.CSV}}
	keep := exportops.KeepFor(oneDay)
	_, err := exportops.NewPolicy(exportops.Retention{}, exportops.KeepFor(time.Hour), []exportops.Rule{
		{Match: good, Files: keep, Logs: keep},
		{Name: "a", Files: keep, Logs: keep},
		{Name: "a", Match: good, Files: exportops.KeepFor(time.Minute), Logs: exportops.KeepFor(99999 * oneDay)},
		{Name: "default", Match: good, Files: keep},
		{Name: strings.Repeat("x", 101), Match: good, Files: exportops.Never, Logs: exportops.Never},
		{Name: "b", Files: keep, Logs: keep, Match: exportops.Match{
			Formats: []exportops.Format{"xml"}, Users: []string{"alice"}, Statuses: []exportops.Status{"done"},
			LargerThan: ptr(int64(10)), SmallerThan: ptr(int64(11)), OlderThan: -1,
			Config: map[string][]any{"a": {}, "b": {nil}, "c": {1e300}},
		}},
		{Name: "c", Files: keep, Logs: keep, Match: exportops.Match{LargerThan: ptr(int64(-1))}},
	})
	var got []string
	for _, e := range flatten(err) {
		got = append(got, e.Field)
	}
	want := []string{
		"default.files", "default.logs", "rules[0].name", "rules[1].match", "rules[2].name", "rules[2].files", "rules[2].logs",
		"rules[3].name", "rules[3].logs", "rules[4].name", "rules[5].match.format", "rules[5].match.status", "rules[5].match.user",
		"rules[5].match.smaller_than", "rules[5].match.older_than", "rules[5].match.config.a", "rules[5].match.config.b",
		"rules[5].match.config.c", "rules[6].match.larger_than",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// flatten returns the errors that are joined in err.
func flatten(err error) (all []*exportops.Error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	var e *exportops.Error
	if errors.As(err, &e) {
		all = append(all, e)
	}
	return all
}

func TestReadConfig(t *testing.T) {
	keys := []string{"a", "b"}
	for text, want := range map[string]exportops.ConfigValues{
		`{"a":"x","b":true,"c":1}`:   {"a": "x", "b": true},
		`{"a":1.0,"b":1e400}`:        {"a": 1.0},
		`{"a":null,"b":["x"]}`:       {},
		`{"A":"x"}`:                  {},
		`{"a":1,"a":2}`:              {"a": 2.0},
		`{}`:                         {},
		`null`:                       nil,
		`"a"`:                        nil,
		`[]`:                         nil,
		``:                           nil,
		`{"a":1`:                     nil,
		"{\"a\":\"" + "\xff" + "\"}": {"a": "\ufffd"},
		`{"a":"` + strings.Repeat("x", exportops.MaxConfigBytes) + `"}`: nil,
	} {
		if d := cmp.Diff(want, exportops.ReadConfig([]byte(text), keys)); d != "" {
			t.Errorf("%.60q (-want +got):\n%s", text, d)
		}
	}
	if got := exportops.ReadConfig([]byte(`{"a":1}`), nil); got != nil {
		t.Errorf("where nothing is asked for: %v", got)
	}
}

// ruleGen draws a rule with a few conditions, out of few values so that rows
// often match.
func ruleGen(i int) *rapid.Generator[exportops.Rule] {
	keep := rapid.SampledFrom([]exportops.Retention{exportops.Never, exportops.KeepFor(oneDay), exportops.KeepFor(40 * oneDay)})
	return rapid.Custom(func(t *rapid.T) exportops.Rule {
		r := exportops.Rule{Name: fmt.Sprint("rule ", i), Files: keep.Draw(t, "files"), Logs: keep.Draw(t, "logs")}
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			r.Match.LargerThan = ptr(rapid.Int64Range(0, 3).Draw(t, "size"))
		case 1:
			r.Match.OlderThan = time.Duration(rapid.IntRange(1, 3).Draw(t, "age")) * oneDay
		case 2:
			r.Match.Config = map[string][]any{"scope": {rapid.SampledFrom([]any{"all", true, 1.0}).Draw(t, "scope")}}
		case 3:
			r.Match.Statuses = rapid.SliceOfN(rapid.SampledFrom(exportops.Statuses), 1, 3).Draw(t, "statuses")
		default:
			r.Match.Formats = rapid.SliceOfN(rapid.SampledFrom(exportops.Formats), 1, 2).Draw(t, "formats")
			r.Match.Users = []string{rapid.SampledFrom([]string{alice, bob}).Draw(t, "user")}
		}
		return r
	})
}

func rowGen(t *rapid.T) exportops.Candidate {
	c := exportops.Candidate{
		UserID: rapid.SampledFrom([]string{alice, bob, ""}).Draw(t, "user"), Format: rapid.SampledFrom(exportops.Formats).Draw(t, "format"),
		Status:    rapid.SampledFrom(exportops.Statuses).Draw(t, "status"),
		Timestamp: exportops.At(policyNow.Add(-time.Duration(rapid.IntRange(0, 80).Draw(t, "hours")) * time.Hour)).String(),
	}
	if rapid.Bool().Draw(t, "sized") {
		c.FileSize = ptr(rapid.Int64Range(0, 4).Draw(t, "size"))
	}
	switch rapid.IntRange(0, 3).Draw(t, "oddity") {
	case 0:
		c.Timestamp = rapid.SampledFrom([]string{"", "x", "2025-10-31"}).Draw(t, "unreadable")
	case 1:
		c.Config = exportops.ConfigValues{"scope": rapid.SampledFrom([]any{"all", true, 1.0, "1"}).Draw(t, "scope")}
	}
	return c
}

func TestPolicyProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rules []exportops.Rule
		for i := range rapid.IntRange(0, 5).Draw(t, "rules") {
			rules = append(rules, ruleGen(i).Draw(t, "rule"))
		}
		policyOf := func(rules ...exportops.Rule) *exportops.Policy {
			p, err := exportops.NewPolicy(exportops.KeepFor(2*oneDay), exportops.KeepFor(3*oneDay), rules)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		p, row := policyOf(rules...), rowGen(t)
		got := p.Choose(row, policyNow)
		// The first of those that match alone decides, and the default else.
		want := exportops.Choice{Rule: exportops.DefaultRule, Default: true, Files: exportops.KeepFor(2 * oneDay), Logs: exportops.KeepFor(3 * oneDay)}
		for _, r := range slices.Backward(rules) {
			if alone := policyOf(r).Choose(row, policyNow); !alone.Default {
				want = alone
			}
		}
		if got != want {
			t.Fatalf("chose %+v, want %+v", got, want)
		}
		// The reasons lead where the choice does.
		e := p.Explain(row, policyNow)
		if e.Rule != got.Rule || e.Files != got.Files || e.Logs != got.Logs {
			t.Fatalf("chose %+v, and explains %+v", got, e)
		}
		for i, look := range e.Looks {
			if look.Matches != (i == len(e.Looks)-1 && !got.Default) {
				t.Fatalf("rule %d of %+v", i, e)
			}
		}
		// What can be due is older than the shortest retention of all.
		asked, readable := exportops.ParseStoredTime(row.Timestamp)
		if p.LogDue(row, policyNow) {
			shortest, finite := p.ShortestLogs().Length()
			if got.Logs.IsNever() || !readable || !finite || policyNow.Sub(asked.Time) <= shortest {
				t.Fatalf("%+v is due by %+v", row, got)
			}
		}
		if !readable {
			for _, r := range rules {
				if r.Name == got.Rule && r.Match.OlderThan > 0 {
					t.Fatalf("an unreadable time is older than %s", r.Match.OlderThan)
				}
			}
		}
		// Another order is another policy.
		if len(rules) > 1 {
			turned := slices.Clone(rules)
			slices.Reverse(turned)
			if policyOf(turned...).Hash() == p.Hash() {
				t.Fatal("the order of rules does not show in the hash")
			}
		}
	})
}
