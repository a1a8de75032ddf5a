package main

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
)

func TestAnInterruptEndsAnImportThatWaitsForInput(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, stderr, status := capture(t, "migrate"); status != 0 {
		t.Fatal(stderr)
	}
	out, err := os.Create("stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, feed := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() { ended <- execute(ctx, []string{"import", "-"}, in, out, out) }()
	// The write returns when the import has read it, and so is under way.
	if _, err := feed.Write([]byte("nonsense\n")); err != nil {
		t.Fatal(err)
	}
	cancel()
	if status := <-ended; status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	said, err := os.ReadFile("stderr")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(said), "error: interrupted") {
		t.Errorf("got %s", said)
	}
}
