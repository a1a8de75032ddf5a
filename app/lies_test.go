package app_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/archive"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/jobs"
)

// A storage that lies: it says that it did what it did not, that nothing is there, or
// gives back something else than it was given. Each lie is told through whole jobs.
// Whatever it is, no row and no file is lost, nothing counts as done that was not, and
// once the storage tells the truth again the jobs come to their usual end.

// liar is a storage that tells one lie while it is told to.
type liar struct {
	change func(*config.Settings) // names the liar
	honest func(*config.Settings) // names the storage behind it
	// wrap puts the lie in front of what a runner works with; nil where the settings
	// do.
	wrap  func(exportops.FileStore, exportops.ObjectStore) (exportops.FileStore, exportops.ObjectStore)
	lying *atomic.Bool
	// They begin and end a lie that is more than words; nil for none.
	begin, undo func()
}

// lie is one lie, and which jobs it keeps from their end.
type lie struct {
	name  string
	fails []exportops.Job
	tell  func(t *testing.T) liar
}

const (
	lyingUser  = "0b8f3c1e-54a7-4e0c-9c4d-6d2a9f1b7e10"
	erasedUser = "1c9a4d2f-65b8-4f1d-8d5e-7e3bab2c8f21"
)

var (
	dueKeys   = []string{lyingUser + "/d1", lyingUser + "/d2", lyingUser + "/d3"}
	liveKey   = lyingUser + "/live"
	erasedKey = erasedUser + "/file"
)

func TestStorageThatLies(t *testing.T) {
	for name, lies := range map[string][]lie{"disk": diskLies(), "s3": s3Lies(), "supabase": supabaseLies()} {
		t.Run("on_"+name, func(t *testing.T) {
			for _, l := range lies {
				t.Run(l.name, func(t *testing.T) { tell(t, l) })
			}
		})
	}
}

// lied is a world on a storage that lies.
type lied struct {
	*server
	t      *testing.T
	truth  app.Files // the storage itself
	keeper *archive.Keeper
}

func tell(t *testing.T, l lie) {
	t.Helper()
	x := l.tell(t)
	c := settings(t, x.change)
	honest := settings(t, x.honest)
	if c.Storage.Root != "" {
		for _, root := range []string{c.Storage.Root, c.Archive.Root} {
			if err := os.MkdirAll(root, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	w := lied{server: open(t, c), t: t}
	t.Cleanup(w.close)
	w.fill(honest)
	var objects exportops.ObjectStore
	files := w.Files
	lying, err := app.OpenArchive(t.Context(), c)
	w.must(err)
	t.Cleanup(func() { _ = lying.Close() })
	objects = lying
	if x.wrap != nil {
		files, objects = x.wrap(files, objects)
	}
	w.keeper = &archive.Keeper{Store: w.Store, Objects: objects, Dir: t.TempDir(), Program: "exportops test"}
	w.Jobs = jobs.New(jobs.Options{
		Store: w.Store, Files: files, Locator: app.Locator(c), Metrics: w.Metrics, Events: exportops.NoEvents{}, Now: time.Now,
		LogRetention: c.LogRetention, Archives: w.keeper,
	})

	x.lying.Store(true)
	if x.begin != nil {
		x.begin()
	}
	ended := map[exportops.Job]jobs.Answer{}
	for _, job := range []exportops.Job{exportops.EraseUser, exportops.FileCleanup, exportops.Reconcile, exportops.LogCleanup} {
		a, err := w.perform(job)
		if ended[job] = a; err == nil && a.Failure == "" && a.Run.State != exportops.RunDone {
			t.Errorf("%s ended without an error and is %s", job, a.Run.State)
		}
		fails := false
		for _, f := range l.fails {
			fails = fails || f == job
		}
		if fails == (err == nil && a.Failure == "") {
			t.Errorf("%s: failed is %v, want %v: %v %s", job, !fails, fails, err, a.Failure)
		}
		if fails && a.Run.State != exportops.RunFailed {
			t.Errorf("%s failed and is %s", job, a.Run.State)
		}
	}
	x.lying.Store(false)
	if x.undo != nil {
		x.undo()
	}
	w.nothingIsLost(ended)

	// The storage tells the truth again.
	for _, job := range []exportops.Job{exportops.FileCleanup, exportops.LogCleanup, exportops.LogCleanup} {
		if a, err := w.perform(job); err != nil && job == exportops.FileCleanup || a.Failure != "" {
			t.Errorf("%s afterwards: %v %s", job, err, a.Failure)
		}
	}
	w.allIsWell()
}

func (w lied) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w lied) perform(job exportops.Job) (jobs.Answer, error) {
	r := jobs.Request{Job: job, Trigger: exportops.ByCommand}
	if job == exportops.EraseUser {
		r.UserID = erasedUser
	}
	return w.Jobs.Run(w.t.Context(), r)
}

// fill puts rows into the database and files into the storage behind the liar.
func (w *lied) fill(honest config.Config) {
	w.t.Helper()
	var err error
	w.truth, err = app.OpenFiles(w.t.Context(), honest)
	w.must(err)
	w.t.Cleanup(func() { _ = w.truth.Close() })
	c := honest // a place of archives can be written to
	c.Storage, c.Archive = config.Storage{}, &honest.Storage
	objects, err := app.OpenArchive(w.t.Context(), c)
	w.must(err)
	w.t.Cleanup(func() { _ = objects.Close() })
	row := func(user, status, key string, ago, left time.Duration) {
		asked, url, expires := exportops.At(time.Now().Add(-ago)).String(), any(nil), any(nil)
		if key != "" {
			url, expires = key, exportops.At(time.Now().Add(left)).String()
			text := []byte("the content of " + key)
			w.must(objects.Create(w.t.Context(), key, bytes.NewReader(text), int64(len(text)), sha256.Sum256(text)))
		}
		_, err := writer(w.Store).ExecContext(w.t.Context(), `INSERT INTO export_logs (export_id, user_id, timestamp, format, config,
			conversation_count, status, file_url, expires_at, created_at, updated_at) VALUES (?, ?, ?, 'csv', '{}', 1, ?, ?, ?, ?, ?)`,
			exportops.NewID(), user, asked, status, url, expires, asked, asked)
		w.must(err)
	}
	const day = 24 * time.Hour
	for _, key := range dueKeys {
		row(lyingUser, "completed", key, 3*day, -day)
	}
	row(lyingUser, "completed", liveKey, 3*day, 30*day)
	row(erasedUser, "completed", erasedKey, 3*day, 30*day)
	for n := range 3 {
		row(lyingUser, "failed", "", time.Duration(60+n)*day, 0)
	}
}

// there says which of the keys storage really has.
func (w lied) there() map[string]bool {
	w.t.Helper()
	keys := append([]string{liveKey, erasedKey}, dueKeys...)
	infos, err := w.truth.Stat(w.t.Context(), keys)
	w.must(err)
	there := map[string]bool{}
	for i, info := range infos {
		w.must(info.Err)
		there[keys[i]] = info.Exists
	}
	return there
}

func (w lied) count(query string, args ...any) (n int) {
	w.t.Helper()
	w.must(writer(w.Store).QueryRowContext(w.t.Context(), query, args...).Scan(&n))
	return n
}

// nothingIsLost compares what is recorded with what is there.
func (w lied) nothingIsLost(ended map[exportops.Job]jobs.Answer) {
	w.t.Helper()
	there := w.there()
	if !there[liveKey] {
		w.t.Error("the file of a live export is gone")
	}
	for key, is := range there {
		if !is {
			continue
		}
		if n := w.count(`SELECT count(*) FROM export_logs WHERE file_url = ? AND status <> 'expired'`, key); n != 1 {
			w.t.Errorf("%s is there, and its row is not as it was", key)
		}
		if n := w.count(`SELECT count(*) FROM exportops_deletions WHERE key = ? AND state IN ('deleted', 'absent')`, key); n != 0 {
			w.t.Errorf("%s is there, and the ledger says that it is gone", key)
		}
		if n := w.count(`SELECT count(*) FROM exportops_missing_files WHERE key = ?`, key); n != 0 {
			w.t.Errorf("%s is there, and is recorded as missing", key)
		}
	}
	if n := w.count(`SELECT count(*) FROM exportops_unknown_files`); n != 0 {
		w.t.Errorf("%d files are recorded as unknown", n)
	}
	if r := ended[exportops.EraseUser].Result.Erased; r != nil && r.Receipt != nil &&
		(there[erasedKey] || w.count(`SELECT count(*) FROM export_logs WHERE user_id = ?`, erasedUser) != 0) {
		w.t.Error("there is a receipt of an erasure that was none")
	}
	w.everyRow()
}

// everyRow looks for the old rows: each is in the table, or in one archive.
func (w lied) everyRow() (most int) {
	w.t.Helper()
	times := map[string]int{}
	rows, err := writer(w.Store).QueryContext(w.t.Context(), `SELECT id FROM export_logs WHERE status = 'failed'`)
	w.must(err)
	defer rows.Close()
	for rows.Next() {
		var id string
		w.must(rows.Scan(&id))
		times[id]++
	}
	w.must(rows.Err())
	for found, err := range w.keeper.Search(w.t.Context(), archive.Query{}) {
		w.must(err)
		times[found.ID]++
	}
	if len(times) != 3 {
		w.t.Errorf("%d of 3 old rows are left: %v", len(times), times)
	}
	for _, n := range times {
		most = max(most, n)
	}
	return most
}

func (w lied) allIsWell() {
	w.t.Helper()
	there := w.there()
	for _, key := range dueKeys {
		if there[key] {
			w.t.Errorf("%s is still there", key)
		}
	}
	if !there[liveKey] {
		w.t.Error("the file of a live export is gone")
	}
	if n := w.count(`SELECT count(*) FROM export_logs WHERE status = 'expired' AND user_id = ?`, lyingUser); n != len(dueKeys) {
		w.t.Errorf("%d rows say expired", n)
	}
	if n := w.count(`SELECT count(*) FROM export_logs WHERE status = 'failed'`); n != 0 {
		w.t.Errorf("%d old rows are left", n)
	}
	if most := w.everyRow(); most != 1 {
		w.t.Errorf("an old row is kept %d times", most)
	}
	found, err := w.keeper.Audit(w.t.Context(), 0)
	w.must(err)
	if len(found.Faults) != 0 || found.Rows != 3 {
		w.t.Errorf("the archives are not well: %+v", found)
	}
	report, err := exportops.VerifyChain(w.t.Context(), w.Store, 0, exportops.At(time.Now()))
	w.must(err)
	if len(report.Breaks) != 0 || w.count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`) != 0 {
		w.t.Errorf("the ledger is not whole: %+v", report)
	}
}

// All three jobs that delete files, and those that look at them.
var (
	theFiles = []exportops.Job{exportops.EraseUser, exportops.FileCleanup}
	theRoot  = []exportops.Job{exportops.EraseUser, exportops.FileCleanup, exportops.Reconcile, exportops.LogCleanup}
	theLogs  = []exportops.Job{exportops.LogCleanup}
)

// Lies of a folder.

type lyingFiles struct {
	exportops.FileStore
	lying  *atomic.Bool
	delete func(refs []exportops.FileRef) ([]exportops.FileResult, error)
}

func (f *lyingFiles) Delete(ctx context.Context, refs []exportops.FileRef) ([]exportops.FileResult, error) {
	if f.lying.Load() && f.delete != nil {
		return f.delete(refs)
	}
	return f.FileStore.Delete(ctx, refs)
}

type lyingObjects struct {
	exportops.ObjectStore
	lying *atomic.Bool
	lost  bool
	read  func([]byte) []byte
}

func (o *lyingObjects) Create(ctx context.Context, key string, body io.ReadSeeker, size int64, sum [sha256.Size]byte) error {
	if o.lying.Load() && o.lost {
		return nil
	}
	return o.ObjectStore.Create(ctx, key, body, size, sum)
}

func (o *lyingObjects) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	body, err := o.ObjectStore.Open(ctx, key)
	if err != nil || !o.lying.Load() || o.read == nil || !strings.HasSuffix(key, ".parquet") {
		return body, err
	}
	all, err := io.ReadAll(body)
	return io.NopCloser(bytes.NewReader(o.read(all))), errors.Join(err, body.Close())
}

func half(b []byte) []byte { return b[:len(b)/2] }

func flipped(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

func diskLies() []lie {
	onDisk := func(name string, fails []exportops.Job, files lyingFiles, objects lyingObjects, swap func(root string) (begin, undo func())) lie {
		return lie{name, fails, func(t *testing.T) liar {
			t.Helper()
			dir := t.TempDir()
			x := liar{lying: &atomic.Bool{}}
			x.change = func(s *config.Settings) {
				s.StorageURL, s.ArchiveURL = "file://"+filepath.Join(dir, "exports"), "file://"+filepath.Join(dir, "cold")
			}
			x.honest = x.change
			x.wrap = func(f exportops.FileStore, o exportops.ObjectStore) (exportops.FileStore, exportops.ObjectStore) {
				files.FileStore, files.lying, objects.ObjectStore, objects.lying = f, x.lying, o, x.lying
				return &files, &objects
			}
			if swap != nil {
				x.begin, x.undo = swap(filepath.Join(dir, "exports"))
			}
			return x
		}}
	}
	every := func(r exportops.FileResult) func([]exportops.FileRef) ([]exportops.FileResult, error) {
		return func(refs []exportops.FileRef) ([]exportops.FileResult, error) {
			out := make([]exportops.FileResult, len(refs))
			for i := range out {
				out[i] = r
			}
			return out, nil
		}
	}
	must := func(err error) {
		if err != nil {
			panic(err) // in a folder of the test's own
		}
	}
	return []lie{
		onDisk("an_error_for_each_file", theFiles, lyingFiles{delete: every(exportops.FileResult{Removal: exportops.Unproven, Err: errors.New("no")})}, lyingObjects{}, nil),
		onDisk("an_outcome_without_a_word", theFiles, lyingFiles{delete: every(exportops.FileResult{})}, lyingObjects{}, nil),
		onDisk("fewer_answers_than_files", append(theLogs, theFiles...), lyingFiles{delete: func([]exportops.FileRef) ([]exportops.FileResult, error) {
			return []exportops.FileResult{}, nil
		}}, lyingObjects{}, nil),
		onDisk("a_vanished_root", theRoot, lyingFiles{}, lyingObjects{}, func(root string) (func(), func()) {
			return func() { must(os.Rename(root, root+".away")) }, func() { must(os.Rename(root+".away", root)) }
		}),
		onDisk("another_root_that_is_empty", theRoot, lyingFiles{}, lyingObjects{}, func(root string) (func(), func()) {
			return func() { must(os.Rename(root, root+".away")); must(os.Mkdir(root, 0o755)) },
				func() { must(os.Remove(root)); must(os.Rename(root+".away", root)) }
		}),
		onDisk("a_truncated_upload", theLogs, lyingFiles{}, lyingObjects{read: half}, nil),
		onDisk("a_flipped_byte", theLogs, lyingFiles{}, lyingObjects{read: flipped}, nil),
		onDisk("a_lost_upload", theLogs, lyingFiles{}, lyingObjects{lost: true}, nil),
	}
}

// Lies of a server: a relay in front of the real one tells them.

// answer is what a relay says in place of the server; false lets the server answer.
type answer func(w http.ResponseWriter, r *http.Request, forward http.Handler) bool

func relay(t *testing.T, to *url.URL, lying *atomic.Bool, lie answer) *url.URL {
	t.Helper()
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is signed
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !lying.Load() || !lie(w, r, forward) {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// changed forwards, and changes the body of what is read.
func changed(change func([]byte) []byte) answer {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, ".parquet") {
			return false
		}
		got := httptest.NewRecorder()
		forward.ServeHTTP(got, r)
		body := got.Body.Bytes()
		if got.Code == http.StatusOK {
			body = change(body)
		}
		for name, values := range got.Header() {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(got.Code)
		_, _ = w.Write(body)
		return true
	}
}

// cutOff lets the server act, and hangs up before it has answered.
func cutOff(is func(*http.Request) bool) answer {
	return func(_ http.ResponseWriter, r *http.Request, forward http.Handler) bool {
		if is(r) {
			forward.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		return false
	}
}

func says(is func(*http.Request) bool, status int, header, body string) answer {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if !is(r) {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		name, value, _ := strings.Cut(header, ": ")
		w.Header().Set(name, value)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}

func anyCall(*http.Request) bool { return true }

func upload(method string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method && strings.HasSuffix(r.URL.Path, ".parquet") }
}

const xmlType = "Content-Type: application/xml"

func s3Lies() []lie {
	bulk := func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("delete") }
	list := func(r *http.Request) bool { return r.URL.Query().Has("list-type") }
	errorsPerKey := func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if !bulk(r) {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprint(w, `<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
		for _, m := range regexp.MustCompile(`<Key>(.*?)</Key>`).FindAllSubmatch(body, -1) {
			fmt.Fprintf(w, `<Error><Key>%s</Key><Code>InternalError</Code><Message>We encountered an internal error</Message></Error>`, m[1])
		}
		fmt.Fprint(w, `</DeleteResult>`)
		return true
	}
	var all []lie
	for _, l := range []struct {
		name  string
		fails []exportops.Job
		answer
	}{
		{"an_error_for_each_file", theFiles, errorsPerKey},
		{"not_a_word_of_any_file", theFiles, says(bulk, 200, xmlType, `<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></DeleteResult>`)},
		{"another_answer", theFiles, says(bulk, 200, "Content-Type: text/html", `<html>welcome</html>`)},
		{"answers_that_are_cut_off", theFiles, cutOff(bulk)},
		{"an_empty_list", theRoot, says(list, 200, xmlType, `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>`)},
		{"a_vanished_bucket", theRoot, says(anyCall, 404, xmlType, `<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>`)},
		{"a_truncated_upload", theLogs, changed(half)},
		{"a_flipped_byte", theLogs, changed(flipped)},
		{"a_lost_upload", theLogs, says(upload(http.MethodPut), 200, `ETag: "0"`, "")},
	} {
		all = append(all, lie{l.name, l.fails, func(t *testing.T) liar {
			t.Helper()
			at := os.Getenv("EXPORTOPS_TEST_S3")
			if at == "" {
				t.Skip("EXPORTOPS_TEST_S3 names no server")
			}
			u, err := url.Parse(at)
			if err != nil {
				t.Fatal(err)
			}
			secret, _ := u.User.Password()
			t.Setenv("AWS_ACCESS_KEY_ID", u.User.Username())
			t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
			client := s3.New(s3.Options{
				Region: "us-east-1", BaseEndpoint: aws.String("http://" + u.Host), UsePathStyle: true,
				Credentials: credentials.NewStaticCredentialsProvider(u.User.Username(), secret, ""),
			})
			u.User = nil
			x := liar{lying: &atomic.Bool{}}
			through := relay(t, u, x.lying, l.answer)
			hot, cold := "exportops-"+exportops.NewID(), "exportops-"+exportops.NewID()
			for _, bucket := range []string{hot, cold} {
				if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
					t.Fatal(err)
				}
			}
			named := func(u *url.URL) func(*config.Settings) {
				return func(s *config.Settings) {
					s.StorageURL = fmt.Sprintf("s3://%s?endpoint=%s", hot, u)
					s.ArchiveURL = fmt.Sprintf("s3://%s?endpoint=%s", cold, u)
				}
			}
			x.change, x.honest = named(through), named(u)
			return x
		}})
	}
	return all
}

func supabaseLies() []lie {
	const jsonType = "Content-Type: application/json"
	bulk := func(r *http.Request) bool { return r.Method == http.MethodDelete }
	list := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/object/list") }
	var all []lie
	for _, l := range []struct {
		name  string
		fails []exportops.Job
		answer
	}{
		{"not_a_word_of_any_file", theFiles, says(bulk, 200, jsonType, `[]`)},
		{"another_answer", append(theLogs, theFiles...), says(bulk, 200, "Content-Type: text/html", `<html>welcome</html>`)},
		{"answers_that_are_cut_off", theFiles, cutOff(bulk)},
		{"an_empty_list", theRoot, says(list, 200, jsonType, `[]`)},
		{"a_vanished_bucket", theRoot, says(anyCall, 404, jsonType, `{"statusCode":"404","error":"Bucket not found","message":"Bucket not found"}`)},
		{"a_truncated_upload", theLogs, changed(half)},
		{"a_flipped_byte", theLogs, changed(flipped)},
		{"a_lost_upload", theLogs, says(upload(http.MethodPost), 200, jsonType, `{"Key":"x"}`)},
	} {
		all = append(all, lie{l.name, l.fails, func(t *testing.T) liar {
			t.Helper()
			at, key := os.Getenv("EXPORTOPS_TEST_SUPABASE"), os.Getenv("EXPORTOPS_TEST_SUPABASE_KEY")
			if at == "" {
				t.Skip("EXPORTOPS_TEST_SUPABASE names no server")
			}
			u, err := url.Parse(at)
			if err != nil {
				t.Fatal(err)
			}
			x := liar{lying: &atomic.Bool{}}
			through := relay(t, u, x.lying, l.answer)
			hot, cold := "t"+strings.ReplaceAll(exportops.NewID(), "-", ""), "t"+strings.ReplaceAll(exportops.NewID(), "-", "")
			for _, bucket := range []string{hot, cold} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at+"/storage/v1/bucket", strings.NewReader(fmt.Sprintf(`{"id":%q,"name":%q}`, bucket, bucket)))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Authorization", "Bearer "+key)
				req.Header.Set("Apikey", key)
				res, err := http.DefaultClient.Do(req)
				if err != nil || res.StatusCode > 299 {
					t.Fatalf("make a bucket: %v %+v", err, res)
				}
				_ = res.Body.Close()
			}
			named := func(u *url.URL) func(*config.Settings) {
				return func(s *config.Settings) {
					s.StorageURL, s.ArchiveURL = "supabase://"+hot, "supabase://"+cold
					s.SupabaseURL, s.SupabaseKey = u.String(), config.Secret(key)
				}
			}
			x.change, x.honest = named(through), named(u)
			return x
		}})
	}
	return all
}
