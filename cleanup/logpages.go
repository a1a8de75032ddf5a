package cleanup

import (
	"context"
	"fmt"

	"github.com/exportops/exportops"
)

// logPageSize is how many rows are read at once at least. Transactions that delete
// them are paced by themselves; where they come to take more, so do pages.
const (
	logPageSize = 1000
	mostLogRows = 2000 // two such pages are held at once
)

// logPace is that of deleting log rows. It begins small: nothing is known of the
// disk yet, and the first batch keeps others waiting as well.
func (c *Cleaner) logPace() pace { return c.pace(250, 50, 4000) }

// logPage is a page of log rows, and what is to become of each.
type logPage struct {
	rows     []exportops.LogRow
	verdicts []exportops.LogVerdict
	at, next exportops.Cursor // where it begins, and where the page after it does; "" after the last
}

// logReader reads log rows a page ahead of whoever deals with them: reading a
// page takes a third as long as deleting it.
type logReader struct {
	read  func(at exportops.Cursor, limit int) (logPage, error)
	ahead chan readPage // nil while nothing is being read
}

type readPage struct {
	page logPage
	err  error
}

func (r *logRun) reader(ctx context.Context, sel exportops.LogSelection) *logReader {
	return &logReader{read: func(at exportops.Cursor, limit int) (logPage, error) {
		p := logPage{at: at}
		var err error
		if p.rows, p.next, err = r.Store.LogRows(ctx, sel, at, limit); err != nil {
			return p, fmt.Errorf("read log rows: %w", err)
		}
		p.verdicts = make([]exportops.LogVerdict, len(p.rows))
		for i, row := range p.rows {
			p.verdicts[i] = r.sel.judge(row, r.Locator.Resolve(row.FileURL, row.UserID).NoFile)
		}
		return p, nil
	}}
}

// begin begins to read a page for transactions of a size, and drops what was read
// before.
func (l *logReader) begin(at exportops.Cursor, size int) {
	l.stop()
	ahead := make(chan readPage, 1)
	go func() {
		p, err := l.read(at, min(max(size, logPageSize), mostLogRows))
		ahead <- readPage{p, err}
	}()
	l.ahead = ahead
}

// page returns what begin began to read.
func (l *logReader) page() (logPage, error) {
	p := <-l.ahead
	l.ahead = nil
	return p.page, p.err
}

// stop waits until nothing is being read.
func (l *logReader) stop() {
	if l.ahead != nil {
		<-l.ahead
		l.ahead = nil
	}
}
