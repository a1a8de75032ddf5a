//go:build !linux || !(amd64 || arm64)

package killsweep_test

import "testing"

func TestElsewhere(t *testing.T) {
	t.Skip("only Linux, on amd64 and arm64, lets a program be stopped at its system calls as this needs it")
}
