package killsweep

import "syscall"

// Of calls that package syscall does not know.
const (
	renameat2     = 316
	copyFileRange = 326
)

// What SQLite asks for is as old as the machine allows.
func init() {
	for number, c := range map[uint64]call{
		syscall.SYS_OPEN:   {"open", createsOld},
		syscall.SYS_CREAT:  {"creat", always},
		syscall.SYS_UNLINK: {"unlink", always},
		syscall.SYS_RENAME: {"rename", always},
		syscall.SYS_LINK:   {"link", always},
		syscall.SYS_MKDIR:  {"mkdir", always},
		syscall.SYS_RMDIR:  {"rmdir", always},
	} {
		calls[number] = c
	}
}
