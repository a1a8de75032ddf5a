package main

import (
	"context"
	"io"
)

// interruptible reads from r until ctx ends, also while r blocks: nothing else
// ends a read from a pipe that nobody writes to. The read that was under way is
// left behind, for the end of the process to clear up.
type interruptible struct {
	ctx context.Context // of the command that reads
	r   io.Reader
	buf [64 << 10]byte
}

// Read reads, or returns the context's error once it has ended.
func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	part := i.buf[:min(len(p), len(i.buf))]
	go func() {
		n, err := i.r.Read(part)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return copy(p, part[:r.n]), r.err
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	}
}
