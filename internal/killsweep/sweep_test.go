//go:build linux && (amd64 || arm64)

package killsweep_test

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	_ "github.com/exportops/exportops/app" // so that a change of the program is one of the test
)

// program is the path of the real program, built for the tests.
var program string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "killsweep")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder of our own
	program = filepath.Join(dir, "exportops")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/exportops").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build the program: %v\n%s", err, out))
	}
	return m.Run()
}

// What is tried where nobody asks for all: so many points of a job, and on servers so
// many jobs, as each takes a while to begin with.
const (
	sampledPoints = 3
	sampledJobs   = 3
)

// EXPORTOPS_KILLSWEEP is full for all points, from=N for those from one on, at=N for one
// of each job, the seed of a sample, random for another one each time, or nothing for
// the sample of every test run: a change is to fail by what it changes.
var asked = os.Getenv("EXPORTOPS_KILLSWEEP")

func all() bool { return asked == "full" || strings.HasPrefix(asked, "from=") }

// only returns the one point that is asked for, 0 for none.
func only(t *testing.T) int {
	t.Helper()
	return point(t, "at=", 0)
}

// point returns the one that is asked for by a word, or what stands for none.
func point(t *testing.T, word string, none int) int {
	t.Helper()
	at, ok := strings.CutPrefix(asked, word)
	if !ok {
		return none
	}
	n, err := strconv.Atoi(at)
	if err != nil || n < 1 {
		t.Fatalf("EXPORTOPS_KILLSWEEP: %q is no point", at)
	}
	return n
}

var seed = sync.OnceValues(func() (uint64, error) {
	switch asked {
	case "":
		return 7, nil
	case "random":
		return uint64(time.Now().UnixNano()), nil
	}
	return strconv.ParseUint(asked, 10, 64)
})

// random returns the random numbers of one part of a sample.
func random(t *testing.T, part string) *rand.Rand {
	t.Helper()
	n, err := seed()
	if err != nil {
		t.Fatalf("EXPORTOPS_KILLSWEEP is neither full, nor from=N, nor at=N, nor the seed of a sample: %v", err)
	}
	t.Logf("a sample, again by EXPORTOPS_KILLSWEEP=%d", n)
	h := fnv.New64a()
	_, _ = h.Write([]byte(part)) // it never fails
	return rand.New(rand.NewPCG(n, h.Sum64()))
}

// sample returns the points to try of a job that comes to about so many: one of each
// part.
func sample(t *testing.T, about int) (some []int) {
	t.Helper()
	if n := only(t); n > 0 {
		return []int{n}
	}
	r := random(t, t.Name())
	for i := range sampledPoints {
		from, to := about*i/sampledPoints, about*(i+1)/sampledPoints
		if to > from {
			some = append(some, 1+from+r.IntN(to-from))
		}
	}
	return some
}

// someJobs returns jobs to sweep on servers.
func someJobs(t *testing.T) []job {
	t.Helper()
	if all() || only(t) > 0 {
		return allJobs
	}
	jobs := slices.Clone(allJobs)
	random(t, "jobs").Shuffle(len(jobs), func(i, k int) { jobs[i], jobs[k] = jobs[k], jobs[i] })
	return jobs[:sampledJobs]
}

// left is what a run leaves, seen from outside.
type left struct {
	status int      // of the command
	said   string   // its answer, without what differs from run to run
	world  []string // files, rows, archives and ledger
	ended  int      // runs that are recorded as ended

	ledger map[string]string // how each entry is known to have ended
}

// sweep takes one job through its points, in worlds that are equal.
func sweep(t *testing.T, worlds []*world, j job) {
	for _, w := range worlds {
		w.make(t, j)
	}
	// What undisturbed runs leave: one, and another one after it.
	first := worlds[0]
	o := first.traced(t, j, 0)
	once := first.look(t, j, o.Status, first.answer(t))
	twice := first.again(t, j)
	if o.Points == 0 || once.said == "" {
		t.Fatalf("it has %d points, and says %q", o.Points, once.said)
	}
	if twice.said == "" {
		t.Fatalf("once more it ends with %d: %s", twice.status, first.told(t))
	}
	if want := j.status; once.status != want {
		t.Fatalf("undisturbed it ends with %d, not %d: %s", once.status, want, first.told(t))
	}
	free := make(chan *world, len(worlds))
	renew := func(w *world) {
		w.err = w.reset()
		free <- w
	}
	go renew(first)
	for _, w := range worlds[1:] {
		free <- w
	}
	tried := 0
	try := func(n int) (killed bool) {
		w := <-free
		if w.err != nil {
			t.Fatal(w.err)
		}
		w.ready()
		o := w.traced(t, j, n)
		if killed = o.At != ""; killed {
			if tried++; tried%100 == 0 {
				t.Logf("%d points so far", tried)
			}
		}
		w.release(t)
		got := w.again(t, j)
		if !killed { // it came to its end, and again it is the second
			got.ended = twice.ended
		}
		compare(t, fmt.Sprintf("killed at %d, %s", n, o.At), got, once, twice)
		if t.Failed() && !all() {
			t.Logf("the run after it said:\n%s", w.told(t))
		}
		go renew(w)
		return killed
	}
	if all() {
		for n := point(t, "from=", 1); try(n); n++ {
			if n > 20*o.Points {
				t.Fatalf("there is no end after %d points; an undisturbed run has %d", n, o.Points)
			}
		}
		if tried == 0 {
			t.Errorf("it has no such point: an undisturbed run has %d", o.Points)
		}
	} else {
		for _, n := range sample(t, o.Points) {
			try(n)
		}
	}
	for range worlds {
		if w := <-free; w.err != nil {
			t.Error(w.err)
		}
	}
	t.Logf("%s: %d points tried, of about %d", j.name, tried, o.Points)
}

// compare says what the run after a kill left that an undisturbed one does not
// leave. Where the one that was killed had recorded its end, there were two.
func compare(t *testing.T, where string, got, once, twice left) {
	t.Helper()
	wants := []left{once, twice}
	if once.ended != twice.ended {
		switch got.ended {
		case once.ended:
			wants = wants[:1]
		case twice.ended:
			wants = wants[1:]
		default:
			t.Errorf("%s: %d runs have ended", where, got.ended)
		}
	}
	for i := range wants {
		wants[i].ledger = attempted(wants[i].ledger, got.ledger)
		if cmp.Equal(wants[i], got, cmp.AllowUnexported(left{})) {
			return
		}
	}
	t.Errorf("%s: an undisturbed run (-) leaves other than this (+):\n%s", where,
		cmp.Diff(wants[0], got, cmp.AllowUnexported(left{})))
}

// attempted is how entries are known to have ended where storage was asked by a run
// that died then: their files are gone, and that is all that the next one can see.
func attempted(want, got map[string]string) map[string]string {
	want = maps.Clone(want)
	for entry, proof := range got {
		switch gone := want[entry]; {
		case proof == afterAttempt && (strings.HasPrefix(gone, "deleted ") || strings.HasPrefix(gone, "absent ")):
			want[entry] = proof
		case gone == "deleted confirmed 0" && strings.HasPrefix(proof, "deleted confirmed "):
			want[entry] = proof // a bucket tells the size where it is looked at first, as after a claim that was recovered
		}
	}
	return want
}
