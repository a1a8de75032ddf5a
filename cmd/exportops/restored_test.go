package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/jackc/pgx/v5"
)

// backedUp is a world whose database can be backed up and restored.
type backedUp struct {
	*testing.T
	dir     string
	env     []string
	exec    func(query string, args ...any)
	count   func(query string) int
	put     func(key string)
	has     func(key string) bool
	backup  func()
	restore func()
}

func backedUpOnSQLite(t *testing.T) backedUp {
	t.Helper()
	w := backedUp{T: t, dir: t.TempDir()}
	at := func(name string) string { return filepath.Join(w.dir, name) }
	for _, folder := range []string{"exports", "cold"} {
		w.must(os.Mkdir(at(folder), 0o755))
	}
	w.env = append(os.Environ(), "DATABASE_URL=", "EXPORT_STORAGE_URL=", "EXPORT_ARCHIVE_URL=file://"+at("cold"))
	w.sh("exportops migrate")
	with := func(fn func(*sql.DB) error) {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+at("exportops.db")+"?_pragma=busy_timeout(5000)")
		w.must(err)
		w.must(errors.Join(fn(db), db.Close()))
	}
	w.exec = func(query string, args ...any) {
		with(func(db *sql.DB) error { _, err := db.ExecContext(t.Context(), query, args...); return err })
	}
	w.count = func(query string) (n int) {
		with(func(db *sql.DB) error { return db.QueryRowContext(t.Context(), query).Scan(&n) })
		return n
	}
	w.put = func(key string) { w.must(os.WriteFile(at("exports/"+key), []byte("x"), 0o600)) }
	w.has = func(key string) bool {
		_, err := os.Stat(at("exports/" + key))
		return err == nil
	}
	w.backup = func() { w.exec(`VACUUM INTO ?`, at("backup.db")) }
	w.restore = func() {
		w.sh("rm -f exportops.db exportops.db-wal exportops.db-shm; cp backup.db exportops.db")
	}
	return w
}

func backedUpOnPostgres(t *testing.T) backedUp {
	t.Helper()
	hot, cold := newBucket(t), newBucket(t)
	place := func(o objects) string { return fmt.Sprintf("s3://%s?endpoint=%s", *o.bucket, o.server) }
	s := newSite(t, append(hot.settings, "EXPORT_STORAGE_URL="+place(hot), "EXPORT_ARCHIVE_URL="+place(cold))...)
	w := backedUp{T: t, dir: s.dir, env: s.env, exec: s.exec, put: func(key string) { hot.put(t, key) }}
	w.count = func(query string) int { return s.count(query) }
	w.has = func(key string) bool {
		_, err := hot.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: hot.bucket, Key: &key})
		var none *types.NotFound
		if err != nil && !errors.As(err, &none) {
			t.Fatal(err)
		}
		return err == nil
	}
	at := s.db.Config().ConnString()
	u, err := url.Parse(at)
	w.must(err)
	name := strings.TrimPrefix(u.Path, "/")
	// A database is copied while nobody is connected to it.
	copied := func(statements ...string) {
		t.Helper()
		ctx := context.Background() // the copy is dropped after the test's context has ended
		w.must(s.db.Close(ctx))
		admin, err := pgx.Connect(ctx, os.Getenv("EXPORTOPS_TEST_POSTGRES"))
		w.must(err)
		for _, statement := range statements {
			_, err := admin.Exec(ctx, statement)
			w.must(err)
		}
		w.must(admin.Close(ctx))
		s.db, err = pgx.Connect(ctx, at)
		w.must(err)
		t.Cleanup(func() { _ = s.db.Close(ctx) })
	}
	w.backup = func() {
		copied(`CREATE DATABASE ` + name + `_backup TEMPLATE ` + name)
		t.Cleanup(func() { copied(`DROP DATABASE ` + name + `_backup WITH (FORCE)`) })
	}
	w.restore = func() {
		copied(`DROP DATABASE `+name+` WITH (FORCE)`, `CREATE DATABASE `+name+` TEMPLATE `+name+`_backup`)
	}
	return w
}

func (w backedUp) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// sh runs commands, and returns what the last of them said, if that is JSON.
func (w backedUp) sh(script string, env ...string) map[string]any {
	w.Helper()
	var out, errs strings.Builder
	c := exec.CommandContext(w.Context(), "sh", "-ec", script)
	c.Dir, c.Env, c.Stdout, c.Stderr = w.dir, append(w.env, env...), &out, &errs
	if err := c.Run(); err != nil {
		w.Fatalf("%v\n%s\n%s%s", err, script, &out, &errs)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	answer := map[string]any{}
	_ = json.Unmarshal([]byte(lines[len(lines)-1]), &answer) // or it is none
	return answer
}

func (w backedUp) says(what string, answer map[string]any, want map[string]any) {
	w.Helper()
	for name, value := range want {
		if got := fmt.Sprint(answer[name]); got != fmt.Sprint(value) {
			w.Errorf("%s: %s is %s, want %v\n%v", what, name, got, value, answer)
		}
	}
}

// nextSecond returns when the clock shows another second: storage tells times in
// seconds.
func nextSecond() time.Time {
	began := time.Now().Truncate(time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for now := range tick.C {
		if now.Truncate(time.Second).After(began) {
			return now
		}
	}
	panic("the ticker has ended")
}

const (
	restoredUser = "0b8f3c1e-54a7-4e0c-9c4d-6d2a9f1b7e10"
	erasedUserID = "1c9a4d2f-65b8-4f1d-8d5e-7e3bab2c8f21"
	heldUser     = "2dab5e30-76c9-4a2e-9e6f-8f4cbc3d9032"
)

func exportNo(n int) string { return fmt.Sprintf("7f3c2a10-9b1e-4c55-8a54-%012x", n) }

// row inserts an export that was asked for so long ago and expires so long from now.
func (w backedUp) row(n int, user, status, key string, ago, left time.Duration) {
	w.Helper()
	text := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
	asked := text(time.Now().Add(-ago))
	values := []string{
		exportNo(n), exportNo(n), user, asked, "csv", "{}", "1", status, "NULL", "NULL", asked, asked,
	}
	if key != "" {
		values[8], values[9] = key, text(time.Now().Add(left))
	}
	for i, v := range values {
		if v != "NULL" {
			values[i] = "'" + v + "'"
		}
	}
	w.exec(`INSERT INTO export_logs (id, export_id, user_id, timestamp, format, config, conversation_count, status, file_url,
		expires_at, created_at, updated_at) VALUES (` + strings.Join(values, ", ") + `)`)
}

// TestStartingOnARestoredBackup backs a world up, lets it live on, restores the
// backup, and does what the document says.
func TestStartingOnARestoredBackup(t *testing.T) {
	t.Run("on_sqlite_with_folders", func(t *testing.T) { startOnARestoredBackup(t, backedUpOnSQLite(t)) })
	t.Run("on_postgres_with_s3", func(t *testing.T) { startOnARestoredBackup(t, backedUpOnPostgres(t)) })
}

func startOnARestoredBackup(t *testing.T, w backedUp) {
	const hour, day = time.Hour, 24 * time.Hour
	sh := blocks(t, "../../docs/restored-backup.md", "sh")
	if len(sh) != 9 {
		t.Fatalf("the document has %d blocks of commands; this test knows 9", len(sh))
	}

	// The world as it is backed up.
	w.row(1, restoredUser, "completed", "due.csv", 3*day, -hour)
	w.row(2, restoredUser, "completed", "made-again.csv", 3*day, -hour)
	w.row(3, restoredUser, "completed", "live.csv", 3*day, 30*day)
	w.row(4, erasedUserID, "completed", "erased.csv", 3*day, 30*day)
	w.row(5, heldUser, "completed", "held.csv", 3*day, -hour)
	w.row(6, restoredUser, "completed", "due-too.csv", 3*day, -hour)
	w.row(7, restoredUser, "processing", "", 3*day, 0)
	for n := range 10 {
		w.row(100+n, restoredUser, "failed", "", 90*day, 0)
	}
	w.row(200, restoredUser, "failed", "", 400*day, 0)
	w.row(201, erasedUserID, "failed", "", 400*day, 0)
	for _, key := range []string{"due.csv", "made-again.csv", "live.csv", "erased.csv", "held.csv", "due-too.csv"} {
		w.put(key)
	}
	w.says("the archiving before the backup", w.sh("EXPORT_LOG_RETENTION=200d exportops run log-cleanup"), map[string]any{"archived_count": 2})
	nextSecond()
	w.backup()
	backupTime := time.Now().UTC().Format(time.RFC3339Nano)
	nextSecond()

	// It lives on.
	w.sh("exportops hold place --user " + heldUser + " --reason 'case 2026/17' --by counsel")
	w.put("made-again.csv")
	w.exec(`UPDATE export_logs SET expires_at = '2999-01-01T00:00:00.000Z' WHERE export_id = '` + exportNo(2) + `'`)
	w.row(8, restoredUser, "completed", "since.csv", hour, 30*day)
	w.put("since.csv")
	w.exec(`UPDATE export_logs SET status = 'failed' WHERE export_id = '` + exportNo(7) + `'`)
	w.exec(`UPDATE export_logs SET expires_at = '2999-01-01T00:00:00.000Z' WHERE export_id = '` + exportNo(6) + `'`) // which cannot be known
	w.says("the cleanup before", w.sh("exportops run file-cleanup"), map[string]any{"deleted_count": 1, "complete": true})
	w.sh("exportops erase-user " + erasedUserID)
	w.says("the archiving before", w.sh("exportops run log-cleanup"), map[string]any{"deleted_count": 10, "archived_count": 10})
	w.sh(sh[0])

	// It is restored, and somebody calls at once.
	w.restore()
	doc := func(i int, env ...string) map[string]any {
		t.Helper()
		return w.sh(sh[1]+sh[i], append(env, "BACKUP_TIME="+backupTime, "HELD_USER="+heldUser, "ERASED_USER="+erasedUserID)...)
	}
	doc(2)
	held := w.sh(sh[1]+"exportops run file-cleanup", "BACKUP_TIME="+backupTime)
	w.says("a cleanup under the hold", held, map[string]any{"deleted_count": 0, "already_absent": 0})

	matched := doc(3)
	users, _ := json.Marshal(matched["users"])
	if !strings.Contains(string(users), erasedUserID) || strings.Contains(string(users), restoredUser) {
		t.Errorf("matched %s", users)
	}
	missing, _ := json.Marshal(w.sh("exportops reconcile ls")["missing"])
	if !strings.Contains(string(missing), `"erased.csv"`) {
		t.Errorf("missing %s", missing)
	}
	// since.csv is unknown, but too young to be called so.
	w.says("files and rows", w.sh("exportops reconcile --dry-run"), map[string]any{"files_known": 4, "files_recent": 1, "missing_files": 1})
	w.says("the archives", w.sh("exportops archive register --dry-run"), map[string]any{"found": 2, "rows": 11, "rows_present": 10})

	holds := w.sh("exportops hold ls")["holds"].([]any)
	all, _ := json.Marshal(holds[0].(map[string]any)["id"])
	then := doc(4, "HOLD="+string(all))
	w.says("the archives then", then, map[string]any{"archives": 3, "unrecorded_total": 0})
	gone, _ := json.Marshal(then["faults"].([]any)[0].(map[string]any)["id"])
	doc(5, "LOST="+string(gone))
	w.says("the archives in the end", doc(6), map[string]any{"archives": 2, "checked": 2, "unrecorded_total": 0})

	doc(7)
	plan, err := os.ReadFile(filepath.Join(w.dir, "plan.json"))
	w.must(err)
	for key, want := range map[string]string{
		"due-too.csv":    `"do":"delete"`, // listed, for the operator to see
		"made-again.csv": `"why":"younger"`,
		"held.csv":       `"why":"held"`,
	} {
		said := ""
		for line := range strings.SplitSeq(string(plan), "\n") {
			if strings.Contains(line, key) {
				said = line
			}
		}
		if !strings.Contains(said, want) {
			t.Errorf("the plan says of %s: %q, want %s", key, said, want)
		}
	}
	// The operator knows of the expiry that was moved.
	w.exec(`UPDATE export_logs SET expires_at = '2999-01-01T00:00:00.000Z' WHERE export_id = '` + exportNo(6) + `'`)
	doc(8)

	for key, want := range map[string]bool{
		"due.csv": false, "made-again.csv": true, "live.csv": true, "erased.csv": false, "held.csv": true, "since.csv": true, "due-too.csv": true,
	} {
		if w.has(key) != want {
			t.Errorf("%s is there: %v, want %v", key, !want, want)
		}
	}
	for query, want := range map[string]int{
		`SELECT count(*) FROM export_logs WHERE user_id = '` + erasedUserID + `'`:                                   0,
		`SELECT count(*) FROM export_logs WHERE timestamp < '` + time.Now().Add(-60*day).Format(time.RFC3339) + `'`: 0,
		`SELECT count(*) FROM export_logs WHERE status = 'expired'`:                                                 1,
		`SELECT count(*) FROM export_logs WHERE status = 'processing'`:                                              1,
	} {
		if n := w.count(query); n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
	w.says("archives", w.sh("exportops archive verify"), map[string]any{"archives": 2, "rows": 11, "unrecorded_total": 0})
	lines := w.sh("exportops archive search >found; wc -l <found | tr -d ' '; printf '{\"n\":%s}' $(wc -l <found)")
	w.says("archived rows", lines, map[string]any{"n": strconv.Itoa(11)})
}
