package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/exportops/exportops"
)

// batchSize is how many metrics are recorded at once.
const batchSize = 500

// batch records the lines of one body as they come in, in bounded memory.
type batch struct {
	s       *server
	metrics []exportops.Metric
	lines   []int // of metrics, at the same positions
	tally   tally
}

// recordBatch answers 202 however many lines are refused. Where it cannot go on,
// the problem says what is recorded already.
func (s *server) recordBatch(ctx context.Context, c *call) (*tallyOutput, error) {
	body, err := limit(c, MaxBatchBytes)
	if err != nil {
		return nil, err
	}
	b := &batch{s: s, tally: tally{Errors: []refusal{}}}
	err = b.read(ctx, bufio.NewReaderSize(body, MaxLineBytes))
	b.sort()
	if err != nil {
		p := s.problem(ctx, err)
		p.Recorded = &b.tally
		return nil, p
	}
	return &tallyOutput{b.tally}, nil
}

func (b *batch) read(ctx context.Context, r *bufio.Reader) error {
	for n := 1; ; n++ {
		line, long, err := readLine(r)
		if err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(b.flush(ctx), bodyError(err))
		}
		if err != nil && len(line) == 0 {
			return b.flush(ctx)
		}
		if n > MaxBatchLines {
			return errors.Join(b.flush(ctx), &exportops.Error{
				Kind: exportops.KindTooLarge, Message: fmt.Sprintf("the body has more than %d lines", MaxBatchLines),
			})
		}
		b.take(n, line, long)
		if len(b.metrics) == batchSize {
			if err := b.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// readLine returns the next line without what ends it. The rest of a line that
// is too long is skipped. The line is valid until the next call.
func readLine(r *bufio.Reader) (line []byte, long bool, err error) {
	line, err = r.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		line, err = r.ReadSlice('\n')
		if len(line) == 0 {
			line = []byte{' '} // the line was there, even where the body ends with it
		}
	}
	return line, long, err
}

// take decodes one line into the batch, or refuses it. A blank one is no line.
func (b *batch) take(n int, line []byte, long bool) {
	if long {
		b.refuse(n, exportops.Invalid("", "the line is longer than %d bytes", MaxLineBytes))
		return
	}
	line = bytes.Trim(line, " \t\r\n")
	if len(line) == 0 {
		return
	}
	m, err := decodeMetric(line)
	if err != nil {
		b.refuse(n, err)
		return
	}
	b.metrics, b.lines = append(b.metrics, m), append(b.lines, n)
}

// flush records what was taken. After an error none of it is counted.
func (b *batch) flush(ctx context.Context) error {
	if len(b.metrics) == 0 {
		return nil
	}
	receipts, err := b.s.record(ctx, b.metrics)
	if err != nil {
		return err
	}
	for i, receipt := range receipts {
		switch {
		case receipt.Err != nil:
			b.refuse(b.lines[i], refusalOf(receipt))
		case receipt.New:
			b.tally.New++
			b.tally.Accepted++
		default:
			b.tally.Repeated++
			b.tally.Accepted++
		}
	}
	b.metrics, b.lines = b.metrics[:0], b.lines[:0]
	return nil
}

// refuse counts a line, and lists it under its first fault with all of them in
// words.
func (b *batch) refuse(line int, err error) {
	r := refusal{Line: line, Error: "the metric was refused"}
	if errs := exportopsErrors(err); len(errs) > 0 {
		r.Field = errs[0].Field
		r.Error = errs[0].Message
		for _, e := range errs[1:] {
			r.Error += "; " + sentence(e)
		}
	}
	b.tally.Refused++
	b.tally.Errors = append(b.tally.Errors, r)
}

// sort puts the refusals in the order of their lines: those that cannot be read
// are known before those that the store refuses.
func (b *batch) sort() {
	slices.SortFunc(b.tally.Errors, func(x, y refusal) int { return x.Line - y.Line })
}
