//go:build linux && (amd64 || arm64)

package killsweep

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// call is a system call that leaves something behind.
type call struct {
	name string
	on   target
}

// target says by which argument a call is told from one that leaves nothing.
type target uint8

const (
	always     target = iota
	descriptor        // the first: where it leads
	creates           // openat: whether it may create a file
	createsOld        // open, likewise
)

var calls = map[uint64]call{
	syscall.SYS_WRITE:     {"write", descriptor},
	syscall.SYS_WRITEV:    {"writev", descriptor},
	syscall.SYS_PWRITE64:  {"pwrite64", descriptor},
	syscall.SYS_PWRITEV:   {"pwritev", descriptor},
	syscall.SYS_SENDTO:    {"sendto", descriptor},
	syscall.SYS_SENDMSG:   {"sendmsg", descriptor},
	syscall.SYS_SENDFILE:  {"sendfile", descriptor},
	syscall.SYS_SPLICE:    {"splice", always},
	syscall.SYS_FSYNC:     {"fsync", descriptor},
	syscall.SYS_FDATASYNC: {"fdatasync", descriptor},
	syscall.SYS_FTRUNCATE: {"ftruncate", descriptor},
	syscall.SYS_TRUNCATE:  {"truncate", always},
	syscall.SYS_FALLOCATE: {"fallocate", descriptor},
	syscall.SYS_OPENAT:    {"openat", creates},
	syscall.SYS_UNLINKAT:  {"unlinkat", always},
	syscall.SYS_RENAMEAT:  {"renameat", always},
	syscall.SYS_LINKAT:    {"linkat", always},
	syscall.SYS_MKDIRAT:   {"mkdirat", always},
	syscall.SYS_SYMLINKAT: {"symlinkat", always},
	renameat2:             {"renameat2", always},
	copyFileRange:         {"copy_file_range", always},
}

// kind is what a descriptor leads to.
type kind uint8

const (
	other kind = iota // files, folders, pipes
	socket
	inner // of the program itself, such as the descriptor that wakes its poller
)

// lookAt reports what call a thread is about to make, what it goes to, and whether
// it leaves anything behind.
func lookAt(tid int, number uint64, args []uint64) (name string, to kind, leaves bool) {
	c, known := calls[number]
	switch {
	case !known:
		return "", other, false
	case c.on == always:
		return c.name, other, true
	case c.on == creates || c.on == createsOld:
		flags := args[1]
		if c.on == creates {
			flags = args[2]
		}
		return c.name, other, flags&syscall.O_CREAT != 0
	}
	name, to = where(tid, args[0])
	return c.name + " " + name, to, to != inner
}

// where says what a descriptor of a thread leads to.
func where(tid int, fd uint64) (string, kind) {
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, fd))
	switch {
	case err != nil: // it is closed, or the thread is gone
		return fmt.Sprint("descriptor ", fd), other
	case strings.HasPrefix(target, "socket:"):
		return "socket", socket
	case strings.HasPrefix(target, "anon_inode:"):
		return target, inner
	}
	return filepath.Base(target), other
}
