//go:build linux && (amd64 || arm64)

package killsweep

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// Command is a program to run.
type Command struct {
	Path string
	Args []string // without the program's name
	Env  []string
	Dir  string
	Out  *os.File // standard output
	Err  *os.File // standard error
}

// Outcome says how a program ended.
type Outcome struct {
	Points int    // that it came to, the one it was killed at included
	At     string // where it was killed; "" for a program that came to its end
	Status int    // its exit status, 128 more than the signal's number where one ended it
}

// Run runs the program under ptrace and kills it at its n-th point, all threads
// counted together; 0 lets it come to its end. Where it has fewer points, it does.
//
// The points of a file are before each call that changes files or folders, or
// flushes them; those of a socket are before and after each call that sends.
func (c Command) Run(n int) (Outcome, error) {
	type result struct {
		Outcome
		err error
	}
	done := make(chan result)
	go func() {
		// Only the thread that started a program may trace it. It ends with this
		// goroutine, as nobody unlocks it.
		runtime.LockOSThread()
		t := tracer{kill: n, inCall: map[int]entered{}}
		o, err := t.run(c)
		done <- result{o, err}
	}()
	r := <-done
	return r.Outcome, r.err
}

// tracer follows the threads of one program.
type tracer struct {
	pid    int
	kill   int
	inCall map[int]entered // by thread: the call that it is in
	out    Outcome
}

// entered is a call whose end is a point, too.
type entered struct {
	call  string
	sends bool
}

// Of linux/ptrace.h and linux/wait.h; package syscall has them not at all, or not
// everywhere.
const (
	optionsWanted = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x100000 // TRACESYSGOOD, FORK, VFORK, CLONE, EXEC, EXITKILL
	getCallInfo   = 0x420e
	callEntry     = 1
	callExit      = 2
	ownThread     = 0x20000000 // __WNOTHREAD
	anyKind       = 0x40000000 // __WALL
)

// callInfo is struct ptrace_syscall_info.
type callInfo struct {
	op   uint8
	_    [3]uint8
	arch uint32
	ip   uint64
	sp   uint64
	// At the entry the number and the arguments; at the exit the result first.
	data [8]uint64
}

func (t *tracer) run(c Command) (Outcome, error) {
	in, err := os.Open(os.DevNull)
	if err != nil {
		return t.out, err
	}
	defer in.Close() // opened for reading
	p, err := os.StartProcess(c.Path, append([]string{c.Path}, c.Args...), &os.ProcAttr{
		Dir: c.Dir, Env: c.Env, Files: []*os.File{in, c.Out, c.Err}, Sys: &syscall.SysProcAttr{Ptrace: true, Setpgid: true},
	})
	if err != nil {
		return t.out, err
	}
	t.pid = p.Pid
	if err := errors.Join(t.follow(), p.Release()); err != nil {
		return t.out, fmt.Errorf("trace %s: %w", c.Path, err)
	}
	return t.out, nil
}

// follow lets the program go on from stop to stop until it has ended.
func (t *tracer) follow() error {
	var status syscall.WaitStatus
	if _, err := wait(t.pid, &status); err != nil || !status.Stopped() {
		return errors.Join(errors.New("it did not start"), err)
	}
	if err := syscall.PtraceSetOptions(t.pid, optionsWanted); err != nil {
		return err
	}
	if err := goOn(t.pid, 0); err != nil {
		return err
	}
	for {
		tid, err := wait(-t.pid, &status)
		if err != nil {
			return err
		}
		switch {
		case status.Stopped():
			if err := t.stopped(tid, status); err != nil {
				return err
			}
		case tid != t.pid: // a thread of many
		case status.Exited():
			t.out.Status = status.ExitStatus()
			return nil
		case status.Signaled():
			t.out.Status = 128 + int(status.Signal())
			return nil
		}
	}
}

// wait waits for a thread, or for any of a group of processes by its number below
// 0. The program has a group of its own, because this thread may have started other
// children before it came to trace, and their ends are somebody else's to see.
func wait(pid int, status *syscall.WaitStatus) (int, error) {
	for {
		tid, err := syscall.Wait4(pid, status, anyKind|ownThread, nil)
		if !errors.Is(err, syscall.EINTR) {
			return tid, err
		}
	}
}

// goOn lets a thread run to its next stop. One that was killed meanwhile is gone,
// and its end is waited for.
func goOn(tid int, signal syscall.Signal) error {
	if err := syscall.PtraceSyscall(tid, int(signal)); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

func (t *tracer) stopped(tid int, status syscall.WaitStatus) error {
	switch signal := status.StopSignal(); {
	case signal == syscall.SIGTRAP|0x80:
		if err := t.call(tid); err != nil {
			return err
		}
		return goOn(tid, 0)
	case signal == syscall.SIGTRAP && status.TrapCause() > 0, signal == syscall.SIGSTOP:
		return goOn(tid, 0) // a new thread, or what told of it
	default:
		return goOn(tid, signal) // the program's own
	}
}

// call counts the point at which a thread stands, if it is one, and kills the
// program there if it is the one.
func (t *tracer) call(tid int) error {
	var info callInfo
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, getCallInfo, uintptr(tid),
		unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0) //nolint:gosec // the kernel fills it in
	switch {
	case errno == syscall.ESRCH:
		return nil
	case errno != 0:
		return errno
	}
	switch info.op {
	case callEntry:
		call, to, leaves := lookAt(tid, info.data[0], info.data[1:])
		t.inCall[tid] = entered{call, leaves && to == socket}
		if leaves {
			return t.point("before " + call)
		}
	case callExit:
		in := t.inCall[tid]
		delete(t.inCall, tid)
		if in.sends && int64(info.data[0]) > 0 {
			return t.point("after " + in.call)
		}
	}
	return nil
}

func (t *tracer) point(where string) error {
	if t.out.At != "" {
		return nil
	}
	t.out.Points++
	if t.out.Points != t.kill {
		return nil
	}
	t.out.At = where
	return syscall.Kill(t.pid, syscall.SIGKILL)
}
