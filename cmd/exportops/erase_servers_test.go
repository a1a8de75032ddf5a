package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
)

// TestAnErasureLeavesNothing erases a user from Postgres and archives in a bucket, and
// looks for the id in every table, object and archived row.
func TestAnErasureLeavesNothing(t *testing.T) {
	const user, rest = "a1b2c3d4-1111-4222-8333-c0ffee00beef", "b1b2c3d4-1111-4222-8333-c0ffee00beef"
	store := newBucket(t)
	s := newSite(t, append(store.settings, fmt.Sprintf("EXPORT_ARCHIVE_URL=s3://%s/cold?endpoint=%s", *store.bucket, store.server))...)
	if err := os.WriteFile(s.dir+"/"+user+".csv", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Every third row is the user's: of three months, of one month alone, and of today.
	s.exec(`INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, status, error_message, created_at)
		SELECT gen_random_uuid(), CASE WHEN i % 3 = 0 OR i > 300 THEN $1 ELSE $2 END::uuid, at, 'json', '{}', 1, 'failed', 'Timeout: ' || i, at
		FROM (SELECT i, now() - interval '60 days' * (1 + i % 3 + CASE WHEN i > 300 THEN 9 ELSE 0 END) AS at FROM generate_series(1, 310) i) x`, user, rest)
	s.exec(`INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, status, file_url, file_size, expires_at, created_at)
		SELECT gen_random_uuid(), $1::uuid, at, 'csv', '{}', 1, 'completed', $1 || '.csv', 1, now() + interval '1 day', at
		FROM (SELECT now() - interval '1 day' AS at) x`, user)
	s.command("run", "log-cleanup", "--force")
	before := store.archived(t)
	if len(before) != 310 {
		t.Fatalf("%d rows are archived", len(before))
	}
	s.command("archive", "restore", "--beside", "old_exports")
	if n := s.count(`SELECT count(*) FROM public.old_exports WHERE user_id = $1::uuid`, user); n != 110 {
		t.Fatalf("%d rows of the user are in a table beside the export logs", n)
	}
	s.mention(user)
	said := s.command("erase-user", user)
	if !strings.Contains(said, `"restored_rows_erased":110,"left":0,"receipt":{`) {
		t.Fatalf("it said %s", said)
	}
	if n := s.count(`SELECT count(*) FROM public.old_exports`); n != len(before)-110 {
		t.Errorf("%d rows of another user are left in the table", n)
	}
	after := store.archived(t)
	for id, row := range before {
		if strings.Contains(row, user) {
			delete(before, id)
		}
	}
	if len(before) != 200 || len(after) != len(before) {
		t.Fatalf("%d rows are archived, and %d were of others", len(after), len(before))
	}
	for id, row := range before {
		if after[id] != row {
			t.Errorf("row %s is %q, and was %q", id, after[id], row)
		}
	}
	for key, content := range store.all(t) {
		if bytes.Contains(content, []byte(user)) || strings.Contains(key, user) {
			t.Errorf("the object %s names the user", key)
		}
	}
	for _, table := range s.tables() {
		if n := s.count(`SELECT count(*) FROM `+table+` x WHERE x::text ILIKE '%' || $1 || '%'`, user); n > 0 {
			t.Errorf("%d rows of %s name the user", n, table)
		}
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) != 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	s.command("archive", "verify")
	s.command("deletions", "verify")
	if found := s.command("archive", "search", "--user", user); strings.TrimSpace(found) != "" {
		t.Errorf("it is found: %s", found)
	}
}

// mention has others write down a user's id, and the user do what others will see.
func (s *site) mention(user string) {
	s.Helper()
	s.command("hold", "place", "--user", exportops.NewID(), "--reason", "as "+strings.ToUpper(user)+" asked", "--by", user)
	s.command("alerts", "silence", "place", "--rule", "of-"+user, "--subject", user, "--for", "1h", "--reason", user, "--by", user)
	s.exec(`INSERT INTO exportops.incidents (id, rule, subject, state, version, body)
		VALUES ('0199aaaa-0000-7000-8000-000000000001', 'of-' || $1, '', 'firing', 1, json_build_object(
			'id', '0199aaaa-0000-7000-8000-000000000001', 'rule', 'of-' || $1, 'state', 'firing', 'message', 'ask ' || upper($1), 'acknowledged_by', $1))`, user)
	s.exec(`INSERT INTO exportops.incident_events (incident_id, at, step, value, by, note)
		VALUES ('0199aaaa-0000-7000-8000-000000000001', now(), 'firing', 1, $1, 'said ' || upper($1))`, user)
	s.exec(`INSERT INTO exportops.notifications (id, key, channel, state, next_at, last_error, body, created_at)
		VALUES (gen_random_uuid(), 'k', 'ops', 'dead', now(), 'no ' || $1, json_build_object('title', 'of ' || upper($1)), now())`, user)
	s.exec(`INSERT INTO exportops.runs (id, job, lane, state, trigger, params, holder, token, started_at, finished_at, result, cancelled_by)
		VALUES ('r', 'reconcile', 'x', 'partial', 'cli', '{}', 'h', 1, now(), clock_timestamp(), json_build_object('cursor', $1 || '/m'), $1)`, user)
	s.exec(`INSERT INTO exportops.deletions (export_id, user_id, mode, state, store, bucket, key, row_status, run_id, token, attempts,
			claimed_at, finished_at, retried_by)
		VALUES (gen_random_uuid(), gen_random_uuid(), 'expiry', 'failed', 's', 'b', 'k', 'completed', 'r', 1, 1, now(), clock_timestamp(), $1)`, user)
}

// tables names every table there is.
func (s *site) tables() (all []string) {
	s.Helper()
	rows, err := s.db.Query(s.Context(), `SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('public', 'exportops')`)
	if err != nil {
		s.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		all = append(all, "")
		if err := rows.Scan(&all[len(all)-1]); err != nil {
			s.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil || len(all) < 10 {
		s.Fatalf("the tables are %q, %v", all, err)
	}
	return all
}

// all reads every object.
func (o objects) all(t *testing.T) map[string][]byte {
	t.Helper()
	page, err := o.client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: o.bucket})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, x := range page.Contents {
		out, err := o.client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: o.bucket, Key: x.Key})
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = out.Body.Close()
		all[aws.ToString(x.Key)] = content
	}
	return all
}

// archived reads every row of every archive in the bucket, byte for byte, by its id.
func (o objects) archived(t *testing.T) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for key, content := range o.all(t) {
		if !strings.HasSuffix(key, ".parquet") {
			continue
		}
		r, err := archive.Open(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		for row, err := range r.Rows() {
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			if rows[row.ID] != "" {
				t.Errorf("row %s is in two archives", row.ID)
			}
			rows[row.ID] = string(row.AppendBinary(nil))
		}
	}
	return rows
}
