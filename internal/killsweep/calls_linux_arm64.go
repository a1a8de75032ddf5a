package killsweep

// Of calls that package syscall does not know.
const (
	renameat2     = 276
	copyFileRange = 285
)
