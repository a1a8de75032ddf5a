package cleanup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"math"

	"github.com/exportops/exportops"
)

// A plan is a JSON document with one entry a line, so that it is written and
// read in little memory, however long it is. Its SHA-256 is that of everything
// before the line that says it: a plan that was damaged, edited or formatted
// anew is refused. It protects against accidents; what a plan may touch is the
// claim's to decide.
const planVersion = 1

// PlanHeader says what a plan is about.
type PlanHeader struct {
	Version  int             `json:"exportops_plan"`
	Job      exportops.Job   `json:"job"`
	Mode     exportops.Mode  `json:"mode,omitempty"`
	Now      exportops.Time  `json:"now"` // when it was made
	Cut      *exportops.Time `json:"cut"` // of exports created, or rows whose timestamp lies, before
	Database string          `json:"database"`
	Store    string          `json:"store,omitempty"`
	Archive  string          `json:"archive,omitempty"` // where log rows are kept before they go; "" for nowhere
	Policy   string          `json:"policy,omitempty"`  // the hash of what decided, where a policy did
	// RetentionDays is what a cleanup of log rows was told instead of what is
	// configured.
	RetentionDays *int `json:"retention_days,omitempty"`
}

// known reports whether this version can apply a plan like it.
func (h PlanHeader) known() bool {
	if h.Version != planVersion {
		return false
	}
	switch h.Job {
	case exportops.FileCleanup:
		return h.Mode == exportops.ByExpiry || h.Mode == exportops.ByAge && h.Cut != nil
	case exportops.LogCleanup:
		return h.Mode == exportops.ByLogCleanup && h.Cut != nil
	case exportops.UnknownCleanup:
		return h.Mode == exportops.ByReconcile && h.Store != ""
	case exportops.RetentionApply:
		return h.Policy != ""
	}
	return false
}

// PlanTotals adds a plan up. What its job has nothing of is zero.
type PlanTotals struct {
	Delete   int64 `json:"delete"`
	NoFile   int64 `json:"no_file"`
	Keep     int64 `json:"keep"`
	Bytes    int64 `json:"bytes"`    // of the files to delete, where that is known
	Complete bool  `json:"complete"` // whether it came to the end of what is due
	// Files are those that go before their log rows, in a plan of rows.
	Files int64 `json:"files,omitempty"`

	// Of a plan of expiries.
	Earlier   int64 `json:"earlier,omitempty"`
	Later     int64 `json:"later,omitempty"`
	Set       int64 `json:"set,omitempty"`
	Removed   int64 `json:"removed,omitempty"`
	DueAtOnce int64 `json:"due_at_once,omitempty"` // of these, expiries that are past
}

// Due returns how much the plan is to deal with.
func (t PlanTotals) Due() int64 {
	return t.Delete + t.NoFile + t.Earlier + t.Later + t.Set + t.Removed
}

// addBytes adds the size of a file. Rows say it, and a sum of hostile ones stays at
// the largest.
func (t *PlanTotals) addBytes(size int64) {
	if size > 0 {
		t.Bytes += min(size, math.MaxInt64-t.Bytes)
	}
}

// planned is one line of a plan.
type planned interface{ addTo(t *PlanTotals) }

// planEnd is what follows the entries, but for the hash.
type planEnd struct {
	Totals PlanTotals `json:"totals"`
}

// PlanWriter writes a plan while a dry run decides.
type PlanWriter struct {
	out    *bufio.Writer
	sum    hash.Hash
	totals PlanTotals
	open   bool // an entry was written
	err    error
}

// NewPlanWriter begins a plan. Errors are kept, and returned at its end.
func NewPlanWriter(w io.Writer, h PlanHeader) *PlanWriter {
	p := &PlanWriter{sum: sha256.New()}
	p.out = bufio.NewWriterSize(io.MultiWriter(w, p.sum), 64<<10)
	h.Version = planVersion
	b, err := json.Marshal(h)
	p.err = err
	p.write(bytes.TrimSuffix(b, []byte("}")), []byte(`,"entries":[`))
	return p
}

func (p *PlanWriter) write(parts ...[]byte) {
	for _, b := range parts {
		if p.err == nil {
			_, p.err = p.out.Write(b)
		}
	}
}

func (p *PlanWriter) entry(e planned) {
	b, err := json.Marshal(e)
	if p.err == nil {
		p.err = err
	}
	if p.open {
		p.write([]byte(","))
	}
	p.open = true
	e.addTo(&p.totals)
	p.write([]byte("\n"), b)
}

// End ends the plan, and returns its hash.
func (p *PlanWriter) End(complete bool) (sum string, err error) {
	p.totals.Complete = complete
	b, err := json.Marshal(planEnd{p.totals})
	if err != nil {
		return "", fmt.Errorf("write the plan: %w", err)
	}
	p.write([]byte("\n],\n"), bytes.Trim(b, "{}"), []byte("},\n")) // of the totals alone
	if p.err == nil {
		p.err = p.out.Flush()
	}
	sum = hex.EncodeToString(p.sum.Sum(nil))
	p.write([]byte(`"sha256":"` + sum + "\"}\n"))
	if p.err == nil {
		p.err = p.out.Flush()
	}
	if p.err != nil {
		return "", fmt.Errorf("write the plan: %w", p.err)
	}
	return sum, nil
}

// Plan is a plan that was read, and found whole.
type Plan struct {
	PlanHeader
	Totals PlanTotals
	SHA256 string
	source io.ReadSeeker
}

// ReadPlan reads a plan through, and refuses one that is not what was written.
// The source is read again when the plan is applied.
func ReadPlan(source io.ReadSeeker) (*Plan, error) {
	p := &Plan{source: source}
	var found PlanTotals
	for line, err := range p.read() {
		if err != nil {
			return nil, err
		}
		e, err := p.decode(line)
		if err != nil {
			return nil, err
		}
		e.addTo(&found)
	}
	found.Complete = p.Totals.Complete
	if found != p.Totals {
		return nil, damaged("its totals are not those of its entries")
	}
	return p, nil
}

// decode reads a line as the plan's job has it.
func (p *Plan) decode(line []byte) (planned, error) {
	switch p.Job {
	case exportops.LogCleanup:
		return decodeLine[LogEntry](line)
	case exportops.UnknownCleanup:
		return decodeLine[UnknownEntry](line)
	case exportops.RetentionApply:
		return decodeLine[ExpiryEntry](line)
	}
	return decodeLine[PlanEntry](line)
}

func decodeLine[E planned](line []byte) (e E, err error) {
	if json.Unmarshal(line, &e) != nil {
		return e, damaged("a line is no entry")
	}
	return e, nil
}

// Entries reads the entries of a plan for files again.
func (p *Plan) Entries() iter.Seq2[PlanEntry, error] { return entries[PlanEntry](p) }

// entries reads the entries again.
func entries[E planned](p *Plan) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		var none E
		again := &Plan{source: p.source}
		for line, err := range again.read() {
			e := none
			if err == nil {
				e, err = decodeLine[E](line)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
		if again.SHA256 != p.SHA256 {
			yield(none, damaged("it was replaced while it was applied"))
		}
	}
}

func damaged(why string) error {
	return &exportops.Error{
		Kind: exportops.KindRefused, Field: "plan", Message: "it is not as it was written: " + why,
		Hint: "make a new one, with --plan-out FILE",
	}
}

// mostLine bounds one line of a plan.
const mostLine = 16 << 20

// read yields the lines of the entries, and fills in the rest of the plan at its
// ends.
func (p *Plan) read() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if _, err := p.source.Seek(0, io.SeekStart); err != nil {
			yield(nil, fmt.Errorf("read the plan: %w", err))
			return
		}
		lines := bufio.NewScanner(p.source)
		lines.Buffer(make([]byte, 64<<10), mostLine)
		lines.Split(wholeLines)
		sum := sha256.New()
		next := func() []byte {
			if !lines.Scan() {
				return nil
			}
			return lines.Bytes()
		}
		err := p.readHeader(next(), sum)
		for err == nil {
			line := next()
			if line == nil {
				err = damaged("its end is missing")
				break
			}
			if bytes.Equal(line, []byte("],\n")) {
				sum.Write(line)
				err = p.readEnd(next, sum)
				break
			}
			sum.Write(line)
			if !yield(bytes.TrimSuffix(bytes.TrimSpace(line), []byte(",")), nil) {
				return
			}
		}
		switch broken := lines.Err(); {
		case errors.Is(broken, bufio.ErrTooLong):
			err = damaged("a line of it is too long")
		case broken != nil:
			err = fmt.Errorf("read the plan: %w", broken)
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// wholeLines splits into lines, each with its end.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i+1], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

func (p *Plan) readHeader(line []byte, sum hash.Hash) error {
	sum.Write(line)
	head, ok := bytes.CutSuffix(line, []byte(",\"entries\":[\n"))
	if !ok || json.Unmarshal(append(bytes.Clone(head), '}'), &p.PlanHeader) != nil || p.Version == 0 {
		return damaged("it does not begin as a plan does")
	}
	if !p.known() {
		return &exportops.Error{Kind: exportops.KindRefused, Field: "plan", Message: "this version cannot apply a plan of its kind", Hint: "make a new one"}
	}
	return nil
}

func (p *Plan) readEnd(next func() []byte, sum hash.Hash) error {
	totals := bytes.Clone(next())
	sum.Write(totals)
	var end planEnd
	text, ok := bytes.CutSuffix(totals, []byte(",\n"))
	if !ok || json.Unmarshal(append(append([]byte("{"), text...), '}'), &end) != nil {
		return damaged("its totals cannot be read")
	}
	p.Totals, p.SHA256 = end.Totals, hex.EncodeToString(sum.Sum(nil))
	if !bytes.Equal(next(), []byte(`"sha256":"`+p.SHA256+"\"}\n")) || next() != nil {
		return damaged("its hash is another")
	}
	return nil
}
