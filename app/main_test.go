package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/config"
)

// TestMain makes the test program a server where it is told to be one, and
// otherwise sees to it that no goroutine outlives what was served.
func TestMain(m *testing.M) {
	dir := os.Getenv("EXPORTOPS_TEST_SERVE")
	if dir == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := serveProcess(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveProcess serves from the parent's word on, until its pipe ends.
func serveProcess(dir string) error {
	in := bufio.NewReader(os.Stdin)
	fmt.Println("ready")
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	c, err := config.Settings{
		DatabaseURL: "sqlite://" + dir + "/exportops.db", StorageURL: "file://" + dir + "/exports",
		Addr: "127.0.0.1:0", CronSecret: secret,
	}.Parse()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	a, err := app.New(ctx, c, app.Options{Events: io.Discard, Migrate: true, Create: true})
	if err != nil {
		return err
	}
	defer a.Close()
	return a.Serve(ctx, true, func(net.Addr) {
		fmt.Println("listening")
		go func() {
			_, _ = in.ReadString('\n')
			stop()
		}()
	})
}

// TestServersBeginAtOnce starts four where there is nothing yet.
func TestServersBeginAtOnce(t *testing.T) {
	type child struct {
		*exec.Cmd
		in  io.WriteCloser
		out *bufio.Reader
	}
	dir := t.TempDir()
	says := func(c child, want string) {
		t.Helper()
		if line, err := c.out.ReadString('\n'); err != nil || line != want+"\n" {
			t.Errorf("%q, %v", line, err)
		}
	}
	var all []child
	for range 4 {
		c := child{Cmd: exec.CommandContext(t.Context(), os.Args[0])}
		c.Env = append(os.Environ(), "EXPORTOPS_TEST_SERVE="+dir)
		c.Stderr = os.Stderr
		var err error
		if c.in, err = c.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		c.out = bufio.NewReader(out)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		says(c, "ready")
	}
	for _, c := range all {
		if _, err := io.WriteString(c.in, "go\n"); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range all {
		says(c, "listening")
	}
	for _, c := range all {
		if err := c.in.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, c := range all {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
}
