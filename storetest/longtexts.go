package storetest

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// Texts that users write may be long, and of a kind that does not get shorter where
// an index compresses it: whatever is let in, the records of it hold.
func testLongTexts(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("a_row_with_a_long_key_blocks_no_other", func(t *testing.T) { longKeys(t, open(t)) })
	t.Run("the_type_of_an_error_is_counted", func(t *testing.T) { longErrorTypes(t, open(t)) })
}

// dense is a text of so many bytes that cannot be compressed.
func dense(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(rand.Text())
	}
	return b.String()[:n]
}

func longKeys(t *testing.T, f Fixture) {
	hour := after(noon, -time.Hour)
	for n := 1000; n <= exportops.MaxTextBytes; n += 500 {
		f.Insert(t, due(hour, func(r *Row) { r.FileURL = ptr(dense(n)) }))
	}
	f.Insert(t, due(hour, func(r *Row) { r.FileURL = ptr("short") }))
	_, fence := begin(t, f, exportops.Started)
	page := claim(t, f, fence, func(r *exportops.ClaimRequest) {
		r.Limit = 100
		r.Decide = func(page, _ []exportops.Candidate) []exportops.Decision {
			out := make([]exportops.Decision, len(page))
			for i, c := range page {
				out[i] = exportops.Decision{Verdict: exportops.Claim}
				at := exportops.Locator{}.Resolve(c.FileURL, c.UserID)
				if out[i].Location = at.Location; at.Refused != "" {
					out[i] = exportops.Decision{Verdict: exportops.Refuse, Reason: at.Refused}
				}
			}
			return out
		}
	})
	for i, c := range page.Claims {
		if c == nil {
			t.Errorf("there is no entry about %.20q", *page.Candidates[i].FileURL)
		}
	}
}

func longErrorTypes(t *testing.T, f Fixture) {
	types := map[string]int64{}
	for n := 1000; n <= exportops.MaxTextBytes; n += 500 {
		m := metric(func(m *exportops.Metric) {
			m.Status, m.FileSizeBytes, m.ErrorType = exportops.Failed, nil, ptr(dense(n))
		})
		if m.Validate() == nil {
			record(t, f, m)
			types[*m.ErrorType] = 1
		}
	}
	write(t, f, exportops.Rollup{Start: noon, Errors: types}, stateOf(t, f, noon).Version, true)
}
