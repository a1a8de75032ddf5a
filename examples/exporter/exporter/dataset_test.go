package exporter_test

import (
	"regexp"
	"strings"
	"testing"
)

// TestDataSetIsVaried holds the built-in conversations to what they are for:
// exercising exports with what people really write.
func TestDataSetIsVaried(t *testing.T) {
	all := conversations(t)
	ids, topics, openings := map[string]bool{}, map[string]bool{}, map[string]bool{}
	shortest, longest, system := 1<<30, 0, 0
	contents := make([]string, 0, 8*len(all))
	for i, c := range all {
		ids[c.ID], topics[c.Topic] = true, true
		if i > 0 && !all[i-1].CreatedAt.Before(c.CreatedAt.Time) {
			t.Errorf("%s is not later than the one before", c.ID)
		}
		turns := c.Messages
		if turns[0].Role == "system" {
			system++
			turns = turns[1:]
		}
		openings[turns[0].Content] = true
		for i, m := range turns {
			if want := []string{"user", "assistant"}[i%2]; m.Role != want {
				t.Errorf("%s: turn %d is by the %s, want the %s", c.ID, i+1, m.Role, want)
			}
			contents = append(contents, m.Content)
		}
		shortest, longest = min(shortest, len(turns)), max(longest, len(turns))
	}
	if len(all) < 200 || len(ids) != len(all) || len(topics) < 25 || len(openings) < 200 {
		t.Errorf("%d conversations, %d ids, %d topics and %d ways to begin", len(all), len(ids), len(topics), len(openings))
	}
	if shortest > 2 || longest < 12 || system == 0 || system == len(all) {
		t.Errorf("%d to %d turns, %d of %d with a system message", shortest, longest, system, len(all))
	}
	for what, pattern := range map[string]string{
		"accents": `[éüñß]`, "CJK": `\p{Han}`, "kana": `\p{Hiragana}|\p{Katakana}`,
		"Arabic": `\p{Arabic}`, "Hebrew": `\p{Hebrew}`, "emoji": `[\x{1F300}-\x{1FAFF}]`, "joined emoji": `\x{200D}`,
		"quotes": `"`, "newlines": `\n`, "code blocks": "```", "commas": `,`, "markup": `<\w+`, "backslashes": `\\`,
		"a leading =": `^=`, "a leading +": `^\+`, "a leading -": `^-`, "a leading @": `^@`,
	} {
		re, found := regexp.MustCompile(pattern), 0
		for _, s := range contents {
			if re.MatchString(s) {
				found++
			}
		}
		if found == 0 {
			t.Errorf("no message has %s", what)
		}
	}
	if joined := strings.Join(contents, ""); strings.ContainsRune(joined, '\uFFFD') {
		t.Error("a character was lost on the way")
	}
}
