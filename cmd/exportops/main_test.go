package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"exportops": main})
}

// TestCommands runs the program as an operator would; see testdata/script.
func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"DATABASE_URL", "EXPORT_STORAGE_URL", "CRON_SECRET"} {
				e.Setenv(name, "")
			}
			e.Setenv("NO_COLOR", "1")
			addr, err := freeAddress()
			e.Setenv("ADDR", addr)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"receiver": receiver,
			"sql":      sqlCommand,
			"jsonhas":  jsonHas,
			"same":     same,
			"repeat":   repeat,
			"waitfor":  waitFor,
			"waittext": waitText,
		},
	})
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// sqlCommand runs statements on a database: sql file statement... What a single
// query yields is compared with the last argument after "=".
func sqlCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: sql file statement [= value]")
	}
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs(args[0])+"?_pragma=busy_timeout(5000)")
	ts.Check(err)
	defer db.Close()
	if len(args) == 4 && args[2] == "=" {
		var got string
		ts.Check(db.QueryRow(args[1]).Scan(&got))
		if got != args[3] {
			ts.Fatalf("%s = %s, want %s", args[1], got, args[3])
		}
		return
	}
	for _, statement := range args[1:] {
		_, err := db.Exec(statement)
		ts.Check(err)
	}
}

// same compares numbers of a JSON file with what a query counts:
// same file path [- path]... = database query, where {path} stands for a value
// of the file.
func same(ts *testscript.TestScript, neg bool, args []string) {
	n := len(args) - 3
	if neg || n < 2 || args[n] != "=" {
		ts.Fatalf("usage: same file path [- path]... = database query")
	}
	var doc any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &doc))
	var told int64
	for i, sign := 1, int64(1); i < n; i++ {
		if args[i] == "-" {
			sign = -1
			continue
		}
		v, err := strconv.ParseInt(at(doc, strings.Split(args[i], ".")), 10, 64)
		ts.Check(err)
		told += sign * v
	}
	query := regexp.MustCompile(`\{[^}]+\}`).ReplaceAllStringFunc(args[n+2], func(path string) string {
		return at(doc, strings.Split(strings.Trim(path, "{}"), "."))
	})
	sqlCommand(ts, false, []string{args[n+1], query, "=", strconv.FormatInt(told, 10)})
}

// jsonHas looks for path=value in a file, or in stdout, that holds JSON.
func jsonHas(ts *testscript.TestScript, neg bool, args []string) {
	var doc any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &doc))
	for _, want := range args[1:] {
		path, value, ok := strings.Cut(want, "=")
		if !ok {
			ts.Fatalf("usage: jsonhas file path=value...")
		}
		if got := at(doc, strings.Split(path, ".")); (got == value) == neg {
			ts.Fatalf("%s is %s, want %s", path, got, value)
		}
	}
}

func at(doc any, path []string) string {
	for _, name := range path {
		switch v := doc.(type) {
		case map[string]any:
			doc = v[name]
		case []any:
			if i, err := strconv.Atoi(name); err == nil && i < len(v) {
				doc = v[i]
			} else {
				return "missing"
			}
		default:
			return "missing"
		}
	}
	if s, ok := doc.(string); ok {
		return s
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// waitFor waits until a server answers 200.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var last string
	for range 6000 {
		res, err := http.Get(args[0])
		if err == nil {
			if err := res.Body.Close(); err != nil {
				ts.Fatalf("%v", err)
			}
			if last = res.Status; res.StatusCode == http.StatusOK {
				return
			}
		} else {
			last = err.Error()
		}
		<-tick.C
	}
	ts.Fatalf("%s does not answer: %s", args[0], last)
}

// waitText waits until a file holds a text.
func waitText(ts *testscript.TestScript, _ bool, args []string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last []byte
	for range 15000 {
		var err error
		if last, err = os.ReadFile(ts.MkAbs(args[0])); err == nil && bytes.Contains(last, []byte(args[1])) {
			return
		}
		<-tick.C
	}
	ts.Fatalf("%s does not say %q: %s", args[0], args[1], last)
}

// repeat appends a text n times to a file; {} in it counts up.
func repeat(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	var b bytes.Buffer
	for i := range n {
		b.WriteString(strings.ReplaceAll(strings.NewReplacer(`\n`, "\n", `\0`, "\x00", `\xff`, "\xff").Replace(args[1]), "{}", fmt.Sprintf("%012d", i)))
	}
	f, err := os.OpenFile(ts.MkAbs(args[2]), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ts.Check(err)
	_, err = f.Write(b.Bytes())
	ts.Check(err)
	ts.Check(f.Close())
}
