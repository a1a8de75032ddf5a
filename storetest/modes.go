package storetest

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// modeCase is a row, and what a selection of its mode is to find it to be: due,
// implausible, or else not to be touched, whether the store hands it out or not.
type modeCase struct {
	row  Row
	want exportops.Judgement
	// settled, where set, is the outcome that the ledger holds of the row's file
	// before the row becomes what it is in the case.
	settled exportops.DeletionState
	then    string // SQL that sets columns of the row afterwards
}

func testModes(t *testing.T, open func(testing.TB) Fixture) {
	user := exportops.NewID()
	for mode, cases := range map[exportops.Mode]map[string]modeCase{
		exportops.ByExpiry: expiryCases(), exportops.ByAge: ageCases(),
		exportops.ByLogCleanup: logCases(), exportops.ByErasure: erasureCases(user),
	} {
		t.Run(string(mode), func(t *testing.T) {
			f := open(t)
			if f.Typed {
				typedCases(cases)
			}
			names, want, got := map[string]string{}, map[string]exportops.Judgement{}, map[string]exportops.Judgement{}
			_, fence := begin(t, f, exportops.Started)
			for name, c := range cases {
				r := c.row.Complete(after(noon, -time.Hour))
				f.Insert(t, r)
				if c.settled != "" {
					p := claim(t, f, fence, func(q *exportops.ClaimRequest) { q.ExportIDs = []string{r.ExportID} })
					_, err := f.Store.Settle(t.Context(), check(fence, noon), []exportops.Settlement{{Claim: p.Claims[0], State: c.settled}})
					must(t, err)
				}
				if c.then != "" {
					f.Exec(t, `UPDATE {logs} SET `+c.then+` WHERE export_id = ?`, r.ExportID)
				}
				names[r.ExportID] = name
				if want[name] = c.want; c.want == "" {
					delete(want, name)
				}
			}
			sel := exportops.Selection{Mode: mode, Now: noon, Cut: noon, UserID: user}
			var cursor exportops.Cursor
			handed := int64(0)
			for {
				page, next, err := f.Store.Candidates(t.Context(), sel, cursor, 3)
				must(t, err)
				handed += int64(len(page))
				for _, c := range page {
					if j := sel.Judge(c); j == exportops.Due || j == exportops.Implausible {
						got[names[c.ExportID]] = j
					}
				}
				if cursor = next; next == "" {
					break
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("judgements (-want +got):\n%s", d)
			}
			n, err := f.Store.CountCandidates(t.Context(), sel, "")
			must(t, err)
			if n != handed {
				t.Fatalf("%d candidates are counted, %d handed out", n, handed)
			}
		})
	}
}

// unreadable are texts that are no time as it is stored, and mean never.
var unreadable = map[string]string{
	"empty": "", "words": "yesterday", "spaced": "2025-10-31 11:00:00.000", "seconds": "2025-10-31T11:00:00Z",
	"zone": "2025-10-31T11:00:00.000+00:00", "number": "0", "comma": "2025-10-31T11:00:00,000Z",
	"no_date": "2025-02-30T11:00:00.000Z", "no_hour": "2025-10-31T24:00:00.000Z", "long": strings.Repeat("0", 1<<20),
	"nul": "2025-10-31T11:00:00.000Z\x00", "no_text": "\xff\xfe",
}

// typedUnreadable are what a column of times can hold, and no one can read: they
// mean never as well.
var typedUnreadable = map[string]string{
	"infinity": "infinity", "minus_infinity": "-infinity", "before_year_1": "0044-03-15 12:00:00+00 BC",
	"year_12345": "12345-01-01 00:00:00+00",
}

// unreadableIn are the texts that mean never in a store's tables.
func unreadableIn(f Fixture) map[string]string {
	if f.Typed {
		return typedUnreadable
	}
	return unreadable
}

// typedCases leaves the cases that columns with types can hold, and adds those
// that only they can.
func typedCases(cases map[string]modeCase) {
	for name, c := range cases {
		_, kind, _ := strings.Cut(name, "_")
		if _, text := unreadable[kind]; !text {
			continue
		}
		delete(cases, name)
		for kind, never := range typedUnreadable {
			put := func(s *string) {
				if s != nil && *s == unreadable[name[strings.Index(name, "_")+1:]] {
					*s = never
				}
			}
			c := c
			if c.row.ExpiresAt != nil {
				c.row.ExpiresAt = ptr(*c.row.ExpiresAt)
			}
			put(c.row.ExpiresAt)
			put(&c.row.CreatedAt)
			put(&c.row.Timestamp)
			cases[strings.SplitN(name, "_", 2)[0]+"_"+kind] = c
		}
	}
	delete(cases, "nobody_knows_when_created")
	if c, ok := cases["of_long_ago"]; ok {
		c.row.Timestamp = typedUnreadable["minus_infinity"]
		cases["of_long_ago"] = c
	}
	delete(cases, "upper_case") // the same id
}

func expiryCases() map[string]modeCase {
	hour := after(noon, -time.Hour)
	cases := map[string]modeCase{
		"exactly_now":           {row: Row{ExpiresAt: ptr(noon.String()), FileURL: ptr("a")}, want: exportops.Due},
		"a_millisecond_from_it": {row: Row{ExpiresAt: ptr(after(noon, time.Millisecond).String())}},
		"as_it_was_created":     {row: Row{ExpiresAt: ptr(hour.String())}, want: exportops.Due},
		"before_it_was_created": {row: Row{ExpiresAt: ptr(after(hour, -time.Millisecond).String())}, want: exportops.Implausible},
		"nobody_knows_when_created": {
			row: Row{CreatedAt: "2025", ExpiresAt: ptr(hour.String())}, want: exportops.Implausible,
		},
		"without_an_expiry": {row: Row{}},
		"expired_again":     {row: due(hour), settled: exportops.DeletionDone, then: `status = 'completed'`, want: exportops.Due},
		"tried_before":      {row: due(hour), settled: exportops.DeletionFailed, want: exportops.Due},
	}
	for _, s := range []string{"queued", "processing", "failed", "expired"} {
		cases[s] = modeCase{row: Row{Status: s, ExpiresAt: ptr(noon.String())}}
	}
	for name, text := range unreadable {
		cases["expires_"+name] = modeCase{row: Row{ExpiresAt: ptr(text)}}
	}
	return cases
}

func ageCases() map[string]modeCase {
	before := after(noon, -time.Millisecond).String()
	cases := map[string]modeCase{
		"at_the_cut":         {row: Row{CreatedAt: noon.String()}},
		"before_the_cut":     {row: Row{CreatedAt: before}, want: exportops.Due},
		"expires_much_later": {row: Row{CreatedAt: before, ExpiresAt: ptr("2999-01-01T00:00:00.000Z")}, want: exportops.Due},
		"asked_for_later":    {row: Row{CreatedAt: before, Timestamp: after(noon, time.Hour).String()}, want: exportops.Due},
	}
	for _, s := range []string{"queued", "processing", "failed", "expired"} {
		cases[s] = modeCase{row: Row{Status: s, CreatedAt: before}}
	}
	for name, text := range unreadable {
		if text != "" { // Complete fills in what is empty
			cases["created_"+name] = modeCase{row: Row{CreatedAt: text}}
		}
		cases["expires_"+name] = modeCase{row: Row{CreatedAt: before, ExpiresAt: ptr(text)}, want: exportops.Due}
		cases["asked_"+name] = modeCase{row: Row{CreatedAt: before, Timestamp: text}, want: exportops.Due}
	}
	return cases
}

func logCases() map[string]modeCase {
	before, file := after(noon, -time.Millisecond).String(), ptr("a/b.csv")
	cases := map[string]modeCase{
		"at_the_cut":     {row: Row{Status: "failed", Timestamp: noon.String(), FileURL: file}},
		"failed":         {row: Row{Status: "failed", Timestamp: before, FileURL: file}, want: exportops.Due},
		"expired":        {row: Row{Status: "expired", Timestamp: before, FileURL: file}, want: exportops.Due},
		"completed":      {row: Row{Status: "completed", Timestamp: before, FileURL: file}},
		"queued":         {row: Row{Status: "queued", Timestamp: before, FileURL: file}},
		"processing":     {row: Row{Status: "processing", Timestamp: before, FileURL: file}},
		"without_a_file": {row: Row{Status: "expired", Timestamp: before}},
		"empty_file":     {row: Row{Status: "expired", Timestamp: before, FileURL: ptr("")}},
	}
	maps.Copy(cases, confirmationCases(Row{Status: "expired", Timestamp: before}))
	for name, text := range unreadable {
		if text != "" {
			cases["asked_"+name] = modeCase{row: Row{Status: "failed", Timestamp: text, CreatedAt: before, FileURL: file}}
		}
	}
	return cases
}

func erasureCases(user string) map[string]modeCase {
	file := ptr("a/b.csv")
	cases := map[string]modeCase{
		"failed":         {row: Row{UserID: user, Status: "failed", FileURL: file}, want: exportops.Due},
		"expired":        {row: Row{UserID: user, Status: "expired", FileURL: file}, want: exportops.Due},
		"completed":      {row: Row{UserID: user, FileURL: file, ExpiresAt: ptr("2999-01-01T00:00:00.000Z")}, want: exportops.Due},
		"of_long_ago":    {row: Row{UserID: user, FileURL: file, Timestamp: "nobody knows"}, want: exportops.Due},
		"queued":         {row: Row{UserID: user, Status: "queued", FileURL: file}},
		"processing":     {row: Row{UserID: user, Status: "processing", FileURL: file}},
		"without_a_file": {row: Row{UserID: user, Status: "expired"}},
		"another_user":   {row: Row{Status: "expired", FileURL: file}},
		"upper_case":     {row: Row{UserID: strings.ToUpper(user), Status: "expired", FileURL: file}, want: exportops.Due},
	}
	maps.Copy(cases, confirmationCases(Row{UserID: user, Status: "expired"}))
	// What a completed row names may still be served to someone.
	cases["confirmed_but_completed"] = modeCase{
		row: Row{UserID: user, FileURL: ptr("a/c.csv")}, settled: exportops.DeletionDone, then: `status = 'completed'`, want: exportops.Due,
	}
	return cases
}

// confirmationCases are about what the ledger says of an expired row's file.
func confirmationCases(r Row) map[string]modeCase {
	with := func(url string) Row {
		r := r
		r.FileURL, r.ExpiresAt = &url, ptr(after(noon, -time.Minute).String())
		return r
	}
	return map[string]modeCase{
		"confirmed":              {row: with("c/1"), settled: exportops.DeletionDone},
		"confirmed_absent":       {row: with("c/2"), settled: exportops.DeletionAbsent},
		"confirmation_failed":    {row: with("c/3"), settled: exportops.DeletionFailed, want: exportops.Due},
		"file_changed_meanwhile": {row: with("c/4"), settled: exportops.DeletionChanged, want: exportops.Due},
		"another_file_since": {
			row: with("c/5"), settled: exportops.DeletionDone, then: `file_url = 'c/6'`, want: exportops.Due,
		},
		"another_expiry_since": {
			row: with("c/7"), settled: exportops.DeletionDone, then: `expires_at = NULL`, want: exportops.Due,
		},
	}
}
