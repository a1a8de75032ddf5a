package eventlog

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxScrubbed is the most characters that Scrub leaves of a text.
const MaxScrubbed = 500

// maxScrubInput bounds, in bytes, what is looked at: far more than is kept.
const maxScrubInput = 16 << 10

// maxPasses bounds how often the rules are applied until they change nothing.
const maxPasses = 8

// Scrub takes out of a free text what must not be logged: mail addresses,
// bearer tokens, keys and other secrets, the user and the query in URLs, and
// long numbers. What is taken out is named in brackets. The answer is valid
// UTF-8 of at most MaxScrubbed characters, and scrubbing it again changes
// nothing. UUIDs stay. It errs on the side of taking out too much.
func Scrub(s string) string {
	if len(s) > maxScrubInput {
		// A word that is cut in two could no longer be recognised.
		s = s[:maxScrubInput]
		s = s[:strings.LastIndexFunc(s, unicode.IsSpace)+1] + "…"
	}
	s = strings.ToValidUTF8(s, "�")
	for range maxPasses {
		next := cut(scrubOnce(s))
		if next == s {
			return s
		}
		s = next
	}
	return "[scrubbed]"
}

func cut(s string) string {
	if len(s) <= MaxScrubbed || utf8.RuneCountInString(s) <= MaxScrubbed {
		return s
	}
	n := 0
	for i := range s {
		if n++; n == MaxScrubbed {
			return s[:i] + "…"
		}
	}
	return s
}

// rule replaces what it matches. Most texts hold nothing of the kind, so a
// rule is tried only where one of hints is in the text, in lower case.
type rule struct {
	hints   []string
	match   *regexp.Regexp
	replace string
}

const (
	pairName = `(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[ _-]?key|access[ _-]?key|private[ _-]?key|` +
		`service[ _-]?role[ _-]?key|credentials?|authorization|signature|sig|session(?:[ _-]?id)?|cookie)[a-z0-9_-]*`
	pairValue = `(?:\[secret\]|\\?"[^"]*"?|\\?'[^']*'?|[^\s,;&"'\\]+)`
	domain    = `[\p{L}\p{N}_-][\p{L}\p{N}._-]*`
)

// rules are applied in order. Each is written so that what it leaves behind
// does not match it again with another outcome.
var rules = []rule{
	// The user in a URL may hold "@", "/" and worse when it was not encoded.
	{[]string{"://"}, regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://)[^\s"'<>]*(?:@|%40)`), `${1}[user]@`},
	{[]string{"://"}, regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://[^\s"'<>?#]*)[?#][^\s"'<>]*`), `${1}?[query]`},
	{[]string{"?"}, regexp.MustCompile(`(/[^\s"'<>?#]*)\?[^\s"'<>]*=[^\s"'<>]*`), `${1}?[query]`},
	{[]string{"bearer", "basic", "digest"}, regexp.MustCompile(`(?i)\b(bearer|basic|digest)\s+[^\s"',;]{6,}`), `${1} [token]`},
	{[]string{"eyj"}, regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){0,4}`), `[token]`},
	{
		[]string{"sk", "pk", "rk", "sb", "key", "whsec", "gh", "git", "gl", "xox"},
		regexp.MustCompile(`\b(?:sk|pk|rk|sb|key|whsec|gh[a-z]|github_pat|glpat|xox[a-z])[-_][A-Za-z0-9_-]{10,}`), `[secret]`,
	},
	{[]string{"akia", "asia"}, regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z0-9]{12,}`), `[secret]`},
	{
		[]string{"pass", "pwd", "secret", "token", "key", "credential", "authorization", "sig", "session", "cookie"},
		regexp.MustCompile(`(?i)(` + pairName + `(?:\\?["'])?\s*[:=]\s*)` + pairValue), `${1}[secret]`,
	},
	{[]string{"@", "%40"}, regexp.MustCompile(`[^\s@<>()\[\],;:"'/\\=]+(?:@|%40)` + domain), `[email]`},
	{[]string{`"@`}, regexp.MustCompile(`"[^"\n@]{1,64}"@` + domain), `[email]`},
}

func (r rule) apply(s, lower string) string {
	for _, h := range r.hints {
		if strings.Contains(lower, h) {
			return r.match.ReplaceAllString(s, r.replace)
		}
	}
	return s
}

const (
	phone = `\+[0-9][0-9 ().-]{7,}[0-9]`
	card  = `\b[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{1,7}\b`
)

var (
	// run is what numbers in groups and secrets without a name look like; a UUID
	// comes first so that its digits are not taken for a number.
	run = regexp.MustCompile(`(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b` +
		`|` + phone + `|` + card + `|[A-Za-z0-9_+/=-]{9,}`)
	grouped = regexp.MustCompile(`^(?:` + phone + `|` + card + `)$`)
	hexRun  = regexp.MustCompile(`(?i)[0-9a-f]{32,}`)
	mixed   = regexp.MustCompile(`[A-Za-z0-9_+=-]{24,}`)
	number  = regexp.MustCompile(`\p{Nd}{9,}`)
)

const (
	awsSecretLen = 40 // of the one common secret that may hold slashes
	minMixed     = 24 // characters of random text that are a secret
	minDigits    = 9  // digits that are a number of somebody
)

func scrubOnce(s string) string {
	lower := strings.ToLower(s)
	for _, r := range rules {
		s = r.apply(s, lower)
	}
	if mayHoldRun(s) {
		s = run.ReplaceAllStringFunc(s, scrubRun)
	}
	return replaceWideNumbers(s)
}

func scrubRun(word string) string {
	if len(word) == 36 && uuid.MatchString(word) {
		return word
	}
	if grouped.MatchString(word) {
		return "[number]"
	}
	if len(word) == awsSecretLen && isMixed(word) {
		return "[secret]"
	}
	word = hexRun.ReplaceAllLiteralString(word, "[secret]")
	word = mixed.ReplaceAllStringFunc(word, func(part string) string {
		if isMixed(part) {
			return "[secret]"
		}
		return part
	})
	return number.ReplaceAllLiteralString(word, "[number]")
}

// replaceWideNumbers takes out long runs of digits of other scripts, which are
// no part of a word above.
func replaceWideNumbers(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) < 0 {
		return s
	}
	return number.ReplaceAllStringFunc(s, func(digits string) string {
		if strings.IndexFunc(digits, func(r rune) bool { return r > unicode.MaxASCII }) < 0 {
			return digits // ASCII digits that are left belong to a UUID
		}
		return "[number]"
	})
}

// mayHoldRun reports whether there is anything that run could take out: a long
// word, or many digits.
func mayHoldRun(s string) bool {
	word, digits := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			word++
			digits++
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', strings.IndexByte("_+/=-", c) >= 0:
			word++
		default:
			word = 0
		}
		if word >= minMixed || digits >= minDigits {
			return true
		}
	}
	return false
}

// isMixed reports whether s holds digits and letters of both cases, as random
// text does and words seldom do.
func isMixed(s string) bool {
	return strings.ContainsFunc(s, unicode.IsDigit) &&
		strings.ContainsFunc(s, unicode.IsUpper) && strings.ContainsFunc(s, unicode.IsLower)
}
