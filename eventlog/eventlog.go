// Package eventlog writes structured log events, one JSON object a line, in
// the form that log queries select by "type". It is where personal data is
// kept from leaving the process: error texts are scrubbed, and user ids are
// written as Options.UserIDs says.
package eventlog

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/exportops/exportops"
)

// UserIDs says how user ids appear in events.
type UserIDs string

// The ways a user id can appear.
const (
	Plain UserIDs = "plain" // as it is
	Hash  UserIDs = "hash"  // keyed, so that one user's events still belong together
	Omit  UserIDs = "omit"  // not at all
)

// MinKeyBytes is the shortest key that Hash takes.
const MinKeyBytes = 16

// Options says what a Log writes.
type Options struct {
	UserIDs UserIDs          // "" means Plain
	Key     []byte           // for Hash: at least MinKeyBytes, kept secret and the same on every replica
	Clock   func() time.Time // nil means time.Now
}

// Stats counts what became of the events.
type Stats struct {
	Written int64 // lines that the writer took whole
	Failed  int64 // events that were lost, or written without their fields
}

// Log is an exportops.Events that writes to an io.Writer. It is safe for
// concurrent use: every event is one Write of one whole line.
type Log struct {
	redact redactor
	clock  func() time.Time

	mu    sync.Mutex
	w     io.Writer
	buf   []byte
	torn  bool // the last line was cut off by a failed write
	stats Stats
	err   error
}

var _ exportops.Events = (*Log)(nil)

// New returns a Log that writes to w, and waits for it: hand in what takes a
// line at once, such as standard output. It is KindInvalid for UserIDs that are
// unknown, and for Hash without a key.
func New(w io.Writer, o Options) (*Log, error) {
	if o.UserIDs == "" {
		o.UserIDs = Plain
	}
	switch o.UserIDs {
	case Plain, Omit:
	case Hash:
		if len(o.Key) < MinKeyBytes {
			return nil, exportops.Invalid("EXPORTOPS_LOG_USER_IDS", "hash needs a key of at least %d bytes", MinKeyBytes)
		}
	default:
		return nil, exportops.Invalid("EXPORTOPS_LOG_USER_IDS", "%q is not one of plain, hash, omit", string(o.UserIDs))
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Log{w: w, clock: o.Clock, redact: newRedactor(o.UserIDs, o.Key)}, nil
}

// Emit writes one event before it returns. An event that cannot be encoded is
// written without its fields and says so; a failed write is counted and kept
// for Err.
func (l *Log) Emit(t exportops.EventType, v any) {
	fields, err := json.Marshal(v)
	if err == nil && fields[0] != '{' {
		err = fmt.Errorf("%T is not a JSON object", v)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	line := l.buf[:0]
	if l.torn {
		line = append(line, '\n') // so that this event does not end up on the torn line
	}
	line = l.appendLine(line, t, fields, err)
	if err != nil {
		l.err = fmt.Errorf("encode %s event: %w", t, err)
	}
	n, werr := l.w.Write(line)
	if werr == nil && n < len(line) {
		werr = io.ErrShortWrite
	}
	if werr != nil {
		l.torn = l.torn && n == 0 || n > 0
		l.err = fmt.Errorf("write %s event: %w", t, werr)
	} else {
		l.torn = false
		l.stats.Written++
	}
	if err != nil || werr != nil {
		l.stats.Failed++
	}
	if cap(line) <= maxKeptBuffer {
		l.buf = line
	}
}

// maxKeptBuffer bounds, in bytes, the buffer that is kept between events.
const maxKeptBuffer = 64 << 10

// appendLine adds the line of one event. fields is a JSON object unless
// encodeErr says why there is none.
func (l *Log) appendLine(line []byte, t exportops.EventType, fields []byte, encodeErr error) []byte {
	line = append(line, `{"type":`...)
	line = appendString(line, string(t))
	if encodeErr != nil || !hasMember(fields, "timestamp") {
		line = append(line, `,"timestamp":"`...)
		line = l.clock().UTC().AppendFormat(line, exportops.TimeLayout)
		line = append(line, '"')
	}
	if encodeErr != nil {
		line = append(line, `,"event_error":"the fields of this event could not be encoded"`...)
	} else {
		line = l.redact.appendMembers(line, fields)
	}
	return append(line, "}\n"...)
}

// Err returns the latest failure, or nil when every event was written whole.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Stats returns the counts so far.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}
