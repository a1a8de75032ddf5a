package main

import (
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestLinesKeepNumbersAndText(t *testing.T) {
	long := strings.Repeat("x", maxRecord)
	l := newLines(strings.NewReader("\ufeffone\r\n\n  \ntwo\n" + long + "\n" + long + "y\n\x00\nlast"))
	var all []line
	for {
		x, err := l.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(x.text) > 10 {
			x.text = x.text[:10]
		}
		all = append(all, x)
	}
	want := []line{{1, "one", nil}, {4, "two", nil}, {5, "", errTooLong}, {6, "", errTooLong}, {7, "", errNUL}, {8, "last", nil}}
	if diff := cmp.Diff(want, all, cmp.AllowUnexported(line{}), cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) })); diff != "" {
		t.Error(diff)
	}
}

func TestLinesReportAFailingReader(t *testing.T) {
	l := newLines(io.MultiReader(strings.NewReader("one\ntw"), failing{}))
	if x, err := l.next(); err != nil || x.text != "one" {
		t.Fatalf("got %+v, %v", x, err)
	}
	if x, err := l.next(); !errors.Is(err, errFailing) || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %+v, %v, want the failure with its line", x, err)
	}
}

var errFailing = errors.New("the disk is on fire")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFailing }

// records reads every record, and counts those that cannot be read.
func records(t *testing.T, text string) (all [][]string, bad int) {
	t.Helper()
	l := newLines(strings.NewReader(text))
	last := 0
	for {
		fields, n, err := l.csvRecord()
		var line *lineError
		switch {
		case errors.Is(err, io.EOF):
			return all, bad
		case errors.As(err, &line):
			bad++
		case err != nil:
			t.Fatal(err)
		default:
			all = append(all, fields)
		}
		if n <= last {
			t.Fatalf("line %d came after line %d", n, last)
		}
		last = n
	}
}

func TestCSVKeepsGoingAfterABadRecord(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want [][]string
		bad  int
	}{
		"an open quote":                 {"a,b\n\"c,d\ne,f\n", [][]string{{"a", "b"}, {"e", "f"}}, 1},
		"a quote in the middle":         {"a\"b,c\nd,e\n", [][]string{{"d", "e"}}, 1},
		"two odd lines make one record": {"a\"b,c\nd,\"e\nf,g\n", [][]string{{"f", "g"}}, 2},
		"blank lines in quotes":         {"a,\"b\n\n\nc\"\nd,e\n", [][]string{{"a", "b\n\n\nc"}, {"d", "e"}}, 0},
		"CRLF":                          {"a,b\r\nc,d\r\n", [][]string{{"a", "b"}, {"c", "d"}}, 0},
		"bytes in quotes":               {"a,\"b\n\xff\nc\"\nd,e\n", [][]string{{"d", "e"}}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			got, bad := records(t, c.text)
			if diff := cmp.Diff(c.want, got); diff != "" || bad != c.bad {
				t.Errorf("%d bad, want %d\n%s", bad, c.bad, diff)
			}
		})
	}
}

// Whatever comes in, reading ends, in order; and what a CSV writer wrote is
// read back as it was.
func FuzzCSV(f *testing.F) {
	f.Add("a,b\n\"c\nd\",e\n")
	f.Add("\"\n\"\"\n\"\"\"\n")
	f.Add("a,\"b\r\n\r\nc\"")
	f.Fuzz(func(t *testing.T, text string) {
		records(t, text)
		var want [][]string
		var b strings.Builder
		w := csv.NewWriter(&b)
		for row := range strings.SplitSeq(text, "\x01") {
			cells := strings.Split(row, "\x02")
			// Blank records, text that is no text and line ends that CSV readers
			// make alike are not what is written by anybody.
			if strings.TrimSpace(row) == "" || !utf8.ValidString(row) || strings.ContainsAny(row, "\x00\r") || strings.HasPrefix(row, "\ufeff") {
				continue
			}
			want = append(want, cells)
			if err := w.Write(cells); err != nil {
				t.Skip()
			}
		}
		w.Flush()
		got, bad := records(t, b.String())
		if diff := cmp.Diff(want, got); diff != "" || bad > 0 {
			t.Errorf("%d bad\n%q\n%s", bad, b.String(), diff)
		}
	})
}
