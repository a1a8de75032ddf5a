//go:build linux && (amd64 || arm64)

package killsweep_test

import (
	"os/exec"
	"runtime"
	"testing"

	"github.com/exportops/exportops/internal/killsweep"
)

// A thread that traces may have started other programs before; whoever waits for
// those must see their ends.
func TestOtherChildrenAreLeftAlone(t *testing.T) {
	path, err := exec.LookPath("true")
	if err != nil {
		t.Skip("not here: true")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that threads are used again
	for range 20 {
		var others []*exec.Cmd
		for range 5 {
			other := exec.CommandContext(t.Context(), path)
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			others = append(others, other)
		}
		o, err := killsweep.Command{Path: path}.Run(0)
		if err != nil || o.Status != 0 {
			t.Errorf("the traced program: status %d, %v", o.Status, err)
		}
		for _, other := range others {
			if err := other.Wait(); err != nil {
				t.Errorf("another child of this process: %v", err)
			}
		}
	}
}
