package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/exportops/exportops"
)

// spool copies a body of so many bytes at most into a temporary file, so that it can
// be read twice in little memory. The caller may take as long as it keeps sending, and
// a job has its whole budget after that.
func (s *server) spool(c *call, most int64) (*os.File, error) {
	body, err := limit(c, most)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "exportops-plan-*")
	if err != nil {
		return nil, noRoom(err)
	}
	_ = os.Remove(f.Name()) // where an open file cannot be removed, drop does
	in := &slowly{from: body, conn: http.NewResponseController(c.w), clock: s.Clock}
	if _, err = io.Copy(f, in); in.err != nil {
		return nil, errors.Join(bodyError(in.err), drop(f))
	}
	if err != nil {
		return nil, errors.Join(noRoom(err), drop(f))
	}
	err = errors.Join(in.conn.SetReadDeadline(time.Time{}), in.conn.SetWriteDeadline(s.Clock().Add(s.Budget+takeWithin)))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, errors.Join(fmt.Errorf("let the job have its time: %w", err), drop(f))
	}
	return f, nil
}

func noRoom(err error) error {
	return &exportops.Error{
		Kind: exportops.KindUnavailable, Message: "the body cannot be kept in a temporary file", Err: err,
		Hint: "make room, or name a folder that can be written to in TMPDIR",
	}
}

func drop(f *os.File) error {
	err := f.Close()
	if gone := os.Remove(f.Name()); !errors.Is(gone, os.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// slowly lets a body take as long as it needs, while the caller sends it. It keeps
// what went wrong with the body.
type slowly struct {
	from  io.Reader
	conn  *http.ResponseController
	clock func() time.Time
	err   error
}

func (r *slowly) Read(b []byte) (int, error) {
	err := r.conn.SetReadDeadline(r.clock().Add(takeWithin))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		r.err = err
		return 0, err
	}
	n, err := r.from.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}
