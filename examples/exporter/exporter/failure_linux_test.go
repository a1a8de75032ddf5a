package exporter_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/examples/exporter/exporter"
)

func TestKernelThatHasNoSpaceLeft(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	x, o, dir := setUp(t, nil)
	x.Wrap(func(io.Writer) io.Writer { return full })
	_, err = x.Export(t.Context(), request(exportops.JSON))
	wantFailure(t, err, o, dir, exporter.DiskFull, 507, "there is no space left for the file")
}

// TestKernelThatLimitsTheFile exports in a process of its own whose files may
// not grow beyond 64 KiB: the write fails half way, with half a file on disk.
func TestKernelThatLimitsTheFile(t *testing.T) {
	const inside = "EXPORTER_TEST_LIMITED"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKernelThatLimitsTheFile$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "the limit was met") {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ) // else the kernel ends the process
	limit := syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	x, o, dir := setUp(t, nil)
	_, err := x.Export(t.Context(), request(exportops.JSON))
	wantFailure(t, err, o, dir, exporter.FileTooLarge, 507, "the file grows beyond what the system allows")
	fmt.Println("the limit was met")
}
