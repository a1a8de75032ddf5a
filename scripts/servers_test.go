package scripts_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is scripts/servers while it runs a shell command beside the S3 server,
// the quickest to start.
type server struct {
	*exec.Cmd
	folder string // where it puts its temporary files
	lines  *bufio.Scanner
}

func start(t *testing.T, command string) server {
	t.Helper()
	if os.Getenv("EXPORTOPS_TEST_S3") == "" {
		t.Skip("EXPORTOPS_TEST_S3 is not set: run this by scripts/servers s3 -- go test ./scripts")
	}
	folder := t.TempDir()
	// The servers' user must be able to enter it.
	if err := os.Chmod(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), "./servers", "s3", "--", "sh", "-c", command)
	cmd.Env = append(os.Environ(), "TMPDIR="+folder)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	return server{cmd, folder, bufio.NewScanner(out)}
}

func (s server) line(t *testing.T) string {
	t.Helper()
	if !s.lines.Scan() {
		t.Fatalf("the command printed nothing: %v", s.lines.Err())
	}
	return s.lines.Text()
}

func (s server) status(t *testing.T) int {
	t.Helper()
	var exit *exec.ExitError
	if err := s.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return s.ProcessState.ExitCode()
}

func gone(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func serverGone(t *testing.T, address string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	gone(t, "the server", func() bool {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", u.Host)
		if err != nil {
			return true
		}
		return conn.Close() != nil
	})
}

func processGone(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	gone(t, "process "+pid, func() bool {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(n), "stat"))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

func (s server) leavesNoFiles(t *testing.T) {
	t.Helper()
	left, err := os.ReadDir(s.folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("%s was left behind", entry.Name())
	}
}

func TestServers(t *testing.T) {
	t.Run("gives_the_status_of_the_command_and_leaves_nothing", func(t *testing.T) {
		s := start(t, `echo $EXPORTOPS_TEST_S3; sleep 300 >/dev/null & echo $!; exit 7`)
		address, child := s.line(t), s.line(t)
		if got := s.status(t); got != 7 {
			t.Errorf("the status is %d, not the command's 7", got)
		}
		serverGone(t, address)
		processGone(t, child)
		s.leavesNoFiles(t)
	})
	for sig, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		t.Run("stops_all_of_it_on_"+strings.ReplaceAll(sig.String(), " ", "_"), func(t *testing.T) {
			// Whoever runs the tests may ignore the signal, as nohup does, and a shell cannot
			// trap what was ignored when it began. What is listened for here is not, there.
			heard := make(chan os.Signal, 1)
			signal.Notify(heard, sig)
			defer signal.Stop(heard)
			s := start(t, `echo $EXPORTOPS_TEST_S3; echo $$; exec sleep 300`)
			address, command := s.line(t), s.line(t)
			if err := s.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if got := s.status(t); got != want {
				t.Errorf("the status is %d, not %d", got, want)
			}
			serverGone(t, address)
			processGone(t, command)
			s.leavesNoFiles(t)
		})
	}
	t.Run("takes_its_servers_along_when_it_is_killed", func(t *testing.T) {
		s := start(t, `echo $EXPORTOPS_TEST_S3; echo $$; exec sleep 300`)
		address, command := s.line(t), s.line(t)
		if err := s.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		serverGone(t, address)
		n, err := strconv.Atoi(command)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
			t.Error(err) // the command itself nobody could end
		}
		_ = s.status(t)
	})
}
