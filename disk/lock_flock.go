//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package disk

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock takes the lock of a file that is being written, which lasts until the file is
// closed or its process ends. It fails with errLocked where somebody else has it, and
// with errors.ErrUnsupported where the file system knows no locks.
func lock(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("lock it: %w", err)
	}
	var locked error
	if err := raw.Control(func(fd uintptr) { locked = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) }); err != nil {
		return fmt.Errorf("lock it: %w", err)
	}
	switch {
	case errors.Is(locked, syscall.EWOULDBLOCK):
		return errLocked
	case errors.Is(locked, errors.ErrUnsupported) || errors.Is(locked, syscall.ENOLCK):
		return errors.ErrUnsupported
	case locked != nil:
		return fmt.Errorf("lock it: %w", locked)
	}
	return nil
}
