package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
)

func TestDefaultsAreThoseOfTheContract(t *testing.T) {
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Settings{}.Parse()
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		DatabasePath:  filepath.Join(wd, "exportops.db"),
		LogsTable:     "export_logs",
		Storage:       config.Storage{Root: filepath.Join(wd, "exports"), Bucket: "exports"},
		FileRetention: 24 * time.Hour,
		LogRetention:  30 * 24 * time.Hour,
		Scheduler:     true,
		AlertInterval: time.Minute, AlertReminder: 4 * time.Hour,
		Schedules: map[exportops.Job]string{
			exportops.MetricsAggregate: "0 * * * *",
			exportops.FileCleanup:      "0 2 * * *",
			exportops.LogCleanup:       "0 3 1 * *",
		},
		Addr:       "127.0.0.1:8080",
		LogUserIDs: config.PlainUserIDs,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestValuesAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		set   func(*config.Settings)
		field func(config.Config) any
		want  any
	}{
		"absolute database": {func(s *config.Settings) { s.DatabaseURL = "sqlite:///srv/my%20db.sqlite" }, func(c config.Config) any { return c.DatabasePath }, "/srv/my db.sqlite"},
		"absolute folder":   {func(s *config.Settings) { s.StorageURL = "file:///srv/files/" }, func(c config.Config) any { return c.Storage }, config.Storage{Root: "/srv/files", Bucket: "exports"}},
		"restored from": {
			func(s *config.Settings) { s.RestoredFrom = "2026-01-31T13:00:00+01:00" }, func(c config.Config) any { return c.RestoredFrom.String() }, "2026-01-31T12:00:00.000Z",
		},
		"a schedule of reconcile": {
			func(s *config.Settings) { s.ScheduleReconcile = "0 4 * * 0" }, func(c config.Config) any { return c.Schedules[exportops.Reconcile] }, "0 4 * * 0",
		},
		"bucket and prefix": {func(s *config.Settings) { s.StorageURL = "file:///srv?bucket=b&prefix=x/y" }, func(c config.Config) any { return c.Storage }, config.Storage{Root: "/srv", Bucket: "b", Prefix: "x/y/"}},
		"database server": {
			func(s *config.Settings) { s.DatabaseURL, s.DBPoolSize = "postgres://u:p@h/d?sslmode=require", "20" }, func(c config.Config) any { return c.Postgres },
			config.Postgres{URL: "postgres://u:p@h/d?sslmode=require", PoolSize: 20, LockTimeout: 5 * time.Second, StatementTimeout: time.Minute},
		},
		"table of a server": {func(s *config.Settings) { s.DatabaseURL = "postgresql://h/d" }, func(c config.Config) any { return c.LogsTable }, "public.export_logs"},
		"table of a schema": {func(s *config.Settings) { s.DatabaseURL, s.LogsTable = "postgres://h/d", "app.Logs" }, func(c config.Config) any { return c.LogsTable }, "app.Logs"},
		"object storage": {
			func(s *config.Settings) {
				s.StorageURL = "s3://b/a/c?endpoint=http://h:9000/x&region=eu&path_style=false&verify=full&versions=delete&sse=aws:kms&sse_kms_key_id=k"
			},
			func(c config.Config) any { return c.Storage },
			config.Storage{Bucket: "b", Prefix: "a/c/", S3: &config.S3{
				Endpoint: "http://h:9000/x", Region: "eu", VerifyFull: true, DeleteVersions: true, Encryption: "aws:kms", KMSKey: "k",
			}},
		},
		"its hosts": {
			func(s *config.Settings) {
				s.StorageURL, s.SupabaseURL = "s3://b?endpoint=http://h:9000/x/", "https://p.supabase.co/"
			},
			func(c config.Config) any { return c.Hosts },
			[]string{"http://h:9000/x", "p.supabase.co"},
		},
		"hosts of AWS": {func(s *config.Settings) { s.StorageURL = "s3://b?region=eu-west-1" }, func(c config.Config) any { return c.Hosts }, []string{"s3.amazonaws.com", "s3.eu-west-1.amazonaws.com"}},
		"project": {
			func(s *config.Settings) {
				s.StorageURL, s.SupabaseURL, s.SupabaseKey = "supabase://b/a", "https://p.supabase.co/", "k"
			},
			func(c config.Config) any { return c.Storage },
			config.Storage{Bucket: "b", Prefix: "a/", Supabase: &config.Supabase{URL: "https://p.supabase.co", Key: "k"}},
		},
		"key prefix of a project": {
			func(s *config.Settings) {
				s.StorageURL, s.SupabaseURL, s.SupabaseKey = "supabase://b", "https://p.supabase.co", "k"
			},
			func(c config.Config) any { return c.KeyPrefix }, "{user_id}/",
		},
		"days":                  {func(s *config.Settings) { s.LogRetention = "90d" }, func(c config.Config) any { return c.LogRetention }, 90 * 24 * time.Hour},
		"days and hours":        {func(s *config.Settings) { s.FileRetention = "1d12h" }, func(c config.Config) any { return c.FileRetention }, 36 * time.Hour},
		"key prefix":            {func(s *config.Settings) { s.KeyPrefix = "{user_id}/" }, func(c config.Config) any { return c.KeyPrefix }, "{user_id}/"},
		"reminders off":         {func(s *config.Settings) { s.AlertReminder = "off" }, func(c config.Config) any { return c.AlertReminder }, time.Duration(0)},
		"reminders in days":     {func(s *config.Settings) { s.AlertReminder = "1d12h" }, func(c config.Config) any { return c.AlertReminder }, 36 * time.Hour},
		"alerts off":            {func(s *config.Settings) { s.AlertInterval = "off" }, func(c config.Config) any { return c.AlertInterval }, time.Duration(0)},
		"scheduler off":         {func(s *config.Settings) { s.Scheduler = "off" }, func(c config.Config) any { return c.Scheduler }, false},
		"schedule":              {func(s *config.Settings) { s.ScheduleFiles = " */5  * * * 1-5" }, func(c config.Config) any { return c.Schedules[exportops.FileCleanup] }, "*/5 * * * 1-5"},
		"every address":         {func(s *config.Settings) { s.Addr = ":80" }, func(c config.Config) any { return c.Addr }, ":80"},
		"no metrics":            {func(*config.Settings) {}, func(c config.Config) any { return c.MetricsAddr }, ""},
		"metrics":               {func(s *config.Settings) { s.MetricsAddr = ":9464" }, func(c config.Config) any { return c.MetricsAddr }, ":9464"},
		"archive by bucket":     {func(s *config.Settings) { s.ArchiveBucket = "cold" }, func(c config.Config) any { return c.ArchiveConfigured }, true},
		"archive by URL":        {func(s *config.Settings) { s.ArchiveURL = "s3://cold" }, func(c config.Config) any { return c.ArchiveConfigured }, true},
		"both secrets accepted": {func(s *config.Settings) { s.CronSecret, s.CronSecretPrevious = "new", "old" }, func(c config.Config) any { return c.CronSecret.Values() }, []string{"new", "old"}},
		"hashed users":          {func(s *config.Settings) { s.LogUserIDs, s.LogUserKey = "hash", "0123456789abcdef" }, func(c config.Config) any { return c.LogUserIDs }, config.HashUserIDs},
	} {
		t.Run(name, func(t *testing.T) {
			s := config.Settings{}
			c.set(&s)
			got, err := s.Parse()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, c.field(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEveryMistakeIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		set   func(*config.Settings)
		field string
		says  string
	}{
		"postgres without a host":     {func(s *config.Settings) { s.DatabaseURL = "postgres:///x" }, "DATABASE_URL", "no host and database"},
		"postgres without a database": {func(s *config.Settings) { s.DatabaseURL = "postgres://u:hunter2@db" }, "DATABASE_URL", "no host and database"},
		"postgres in pieces":          {func(s *config.Settings) { s.DatabaseURL = "postgres://u:hunter2%zz@db/x" }, "DATABASE_URL", "cannot be read"},
		"pool size":                   {func(s *config.Settings) { s.DBPoolSize = "1" }, "EXPORTOPS_DB_POOL_SIZE", "from 2 to 1000"},
		"lock timeout":                {func(s *config.Settings) { s.DBLockTimeout = "0s" }, "EXPORTOPS_DB_LOCK_TIMEOUT", "from 100ms to 1h"},
		"statement timeout":           {func(s *config.Settings) { s.DBStatementTimeout = "soon" }, "EXPORTOPS_DB_STATEMENT_TIMEOUT", "not a duration"},
		"table of our schema":         {func(s *config.Settings) { s.DatabaseURL, s.LogsTable = "postgres://h/x", "exportops.runs" }, "EXPORT_LOGS_TABLE", "not the name"},
		"table in pieces":             {func(s *config.Settings) { s.DatabaseURL, s.LogsTable = "postgres://h/x", "a.b.c" }, "EXPORT_LOGS_TABLE", "not the name"},
		"no scheme":                   {func(s *config.Settings) { s.DatabaseURL = "exports.db" }, "DATABASE_URL", "sqlite://"},
		"no path":                     {func(s *config.Settings) { s.DatabaseURL = "sqlite://" }, "DATABASE_URL", "names no path"},
		"options":                     {func(s *config.Settings) { s.DatabaseURL = "sqlite://x.db?mode=memory" }, "DATABASE_URL", "names no path"},
		"bad escape":                  {func(s *config.Settings) { s.DatabaseURL = "sqlite://a%zz.db" }, "DATABASE_URL", "%"},
		"table":                       {func(s *config.Settings) { s.LogsTable = `x"; DROP TABLE x` }, "EXPORT_LOGS_TABLE", "not the name"},
		"table of ours":               {func(s *config.Settings) { s.LogsTable = "exportops_runs" }, "EXPORT_LOGS_TABLE", "not the name"},
		"no bucket":                   {func(s *config.Settings) { s.StorageURL = "s3://" }, "EXPORT_STORAGE_URL", "no bucket"},
		"bucket with a user":          {func(s *config.Settings) { s.StorageURL = "s3://key:hunter2@bucket" }, "EXPORT_STORAGE_URL", "no bucket"},
		"s3 prefix that leaves":       {func(s *config.Settings) { s.StorageURL = "s3://b/a/%2e%2e/c" }, "EXPORT_STORAGE_URL", "no clean prefix"},
		"s3 option":                   {func(s *config.Settings) { s.StorageURL = "s3://b?acl=public" }, "EXPORT_STORAGE_URL", "acl=public"},
		"s3 option twice":             {func(s *config.Settings) { s.StorageURL = "s3://b?region=a&region=b" }, "EXPORT_STORAGE_URL", "set twice"},
		"s3 endpoint":                 {func(s *config.Settings) { s.StorageURL = "s3://b?endpoint=localhost:9000" }, "EXPORT_STORAGE_URL", "endpoint=localhost:9000"},
		"s3 endpoint with a secret":   {func(s *config.Settings) { s.StorageURL = "s3://b?endpoint=http://k:hunter2@h" }, "EXPORT_STORAGE_URL", "endpoint="},
		"s3 key without encryption":   {func(s *config.Settings) { s.StorageURL = "s3://b?sse=AES256&sse_kms_key_id=k" }, "EXPORT_STORAGE_URL", "sse_kms_key_id=k"},
		"supabase without a project":  {func(s *config.Settings) { s.StorageURL = "supabase://bucket" }, "SUPABASE_URL", "needed"},
		"supabase without a key":      {func(s *config.Settings) { s.StorageURL, s.SupabaseURL = "supabase://bucket", "https://a.supabase.co" }, "SUPABASE_SERVICE_ROLE_KEY", "anonymous key"},
		"supabase option":             {func(s *config.Settings) { s.StorageURL = "supabase://bucket?region=x" }, "EXPORT_STORAGE_URL", "region=x"},
		"supabase project":            {func(s *config.Settings) { s.SupabaseURL = "abc.supabase.co" }, "SUPABASE_URL", "not the URL"},
		"storage option":              {func(s *config.Settings) { s.StorageURL = "file://x?region=y" }, "EXPORT_STORAGE_URL", "region=y"},
		"prefix that leaves":          {func(s *config.Settings) { s.StorageURL = "file://x?prefix=../y" }, "EXPORT_STORAGE_URL", "prefix=../y"},
		"key prefix that ends":        {func(s *config.Settings) { s.KeyPrefix = "{user_id}" }, "EXPORT_KEY_PREFIX", "not a prefix"},
		"unknown variable":            {func(s *config.Settings) { s.KeyPrefix = "{org}/" }, "EXPORT_KEY_PREFIX", "not a prefix"},
		"not a duration":              {func(s *config.Settings) { s.FileRetention = "a day" }, "EXPORT_FILE_RETENTION", `"a day" is not a duration`},
		"no duration":                 {func(s *config.Settings) { s.FileRetention = "0h" }, "EXPORT_FILE_RETENTION", "out of range"},
		"negative":                    {func(s *config.Settings) { s.LogRetention = "1d-12h" }, "EXPORT_LOG_RETENTION", "not a duration"},
		"below a day":                 {func(s *config.Settings) { s.LogRetention = "23h" }, "EXPORT_LOG_RETENTION", "out of range"},
		"beyond a century":            {func(s *config.Settings) { s.LogRetention = "999999d" }, "EXPORT_LOG_RETENTION", "out of range"},
		"overflow":                    {func(s *config.Settings) { s.LogRetention = "9999999d" }, "EXPORT_LOG_RETENTION", "not a duration"},
		"schedule of reconcile":       {func(s *config.Settings) { s.ScheduleReconcile = "never" }, "EXPORTOPS_SCHEDULE_RECONCILE", "five fields"},
		"restored from":               {func(s *config.Settings) { s.RestoredFrom = "yesterday" }, "EXPORTOPS_RESTORED_FROM", "2026-01-31T12:00:00Z"},
		"alert reminder":              {func(s *config.Settings) { s.AlertReminder = "8d" }, "EXPORTOPS_ALERT_REMINDER", "from 5m to 7d"},
		"alert interval":              {func(s *config.Settings) { s.AlertInterval = "1s" }, "EXPORTOPS_ALERT_INTERVAL", "from 10s to 1h"},
		"scheduler":                   {func(s *config.Settings) { s.Scheduler = "yes" }, "EXPORTOPS_SCHEDULER", "on or off"},
		"six fields":                  {func(s *config.Settings) { s.ScheduleLogs = "0 0 3 1 * *" }, "EXPORTOPS_SCHEDULE_LOGS", "not a cron expression"},
		"zone":                        {func(s *config.Settings) { s.ScheduleLogs = "TZ=Asia/Tokyo 0 3 1 * *" }, "EXPORTOPS_SCHEDULE_LOGS", "five fields"},
		"descriptor":                  {func(s *config.Settings) { s.ScheduleLogs = "@daily" }, "EXPORTOPS_SCHEDULE_LOGS", "five fields"},
		"no such day":                 {func(s *config.Settings) { s.ScheduleFiles = "0 0 30 2 *" }, "EXPORTOPS_SCHEDULE_FILES", "never comes"},
		"address":                     {func(s *config.Settings) { s.Addr = "localhost" }, "EXPORTOPS_ADDR", "not an address"},
		"port":                        {func(s *config.Settings) { s.Addr = "localhost:70000" }, "EXPORTOPS_ADDR", "port"},
		"address of the metrics":      {func(s *config.Settings) { s.MetricsAddr = "9464" }, "EXPORTOPS_METRICS_ADDR", "not an address"},
		"secret with a space":         {func(s *config.Settings) { s.CronSecret = "hunter2 spaced\n" }, "CRON_SECRET", "header"},
		"only the old token":          {func(s *config.Settings) { s.ReadTokenPrevious = "hunter2" }, "EXPORTOPS_READ_TOKEN_PREVIOUS", "EXPORTOPS_READ_TOKEN"},
		"user ids":                    {func(s *config.Settings) { s.LogUserIDs = "none" }, "EXPORTOPS_LOG_USER_IDS", "plain or hash or omit"},
		"hash without a key":          {func(s *config.Settings) { s.LogUserIDs = "hash" }, "EXPORTOPS_LOG_USER_KEY", "16"},
	} {
		t.Run(name, func(t *testing.T) {
			s := config.Settings{}
			c.set(&s)
			_, err := s.Parse()
			var e *exportops.Error
			if !errors.As(err, &e) || e.Kind != exportops.KindInvalid {
				t.Fatalf("got %v, want an invalid setting", err)
			}
			said := e.Error() + "; " + e.Hint
			if e.Field != c.field || !strings.Contains(said, c.says) {
				t.Errorf("got %q, want it about %s and to say %q", said, c.field, c.says)
			}
			if e.Hint == "" {
				t.Error("it does not say what is accepted")
			}
			if strings.Contains(said, "hunter2") {
				t.Errorf("%q gives a secret away", said)
			}
		})
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	_, err := config.Settings{DatabaseURL: "x", StorageURL: "y", Addr: "z", LogRetention: "1"}.Parse()
	for _, name := range []string{"DATABASE_URL", "EXPORT_STORAGE_URL", "EXPORTOPS_ADDR", "EXPORT_LOG_RETENTION"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %s", err, name)
		}
	}
}

func TestWhatServingNeeds(t *testing.T) {
	const long = "0123456789abcdef"
	for name, c := range map[string]struct {
		s     config.Settings
		dev   bool
		wants string // what the error says, "" for none
	}{
		"a secret":                    {config.Settings{}, false, "CRON_SECRET"},
		"a secret in development too": {config.Settings{}, true, "CRON_SECRET"},
		"a long secret":               {config.Settings{CronSecret: "test-secret"}, false, "shorter than 16"},
		"long tokens":                 {config.Settings{CronSecret: long, ReadToken: "short"}, false, "EXPORTOPS_READ_TOKEN"},
		"long old secrets":            {config.Settings{CronSecret: long, CronSecretPrevious: "short"}, false, "CRON_SECRET_PREVIOUS"},
		"nothing more":                {config.Settings{CronSecret: long, Addr: ":8080"}, false, ""},
		"short in development":        {config.Settings{CronSecret: "test-secret"}, true, ""},
		"IPv6 loopback":               {config.Settings{CronSecret: "s", Addr: "[::1]:0"}, true, ""},
		"loopback in development":     {config.Settings{CronSecret: "s", Addr: "0.0.0.0:8080"}, true, "EXPORTOPS_ADDR"},
		"no open address either":      {config.Settings{CronSecret: "s", Addr: ":8080"}, true, "EXPORTOPS_ADDR"},
	} {
		t.Run(name, func(t *testing.T) {
			parsed, err := c.s.Parse()
			if err != nil {
				t.Fatal(err)
			}
			err = parsed.CheckServe(c.dev)
			if (err == nil) != (c.wants == "") || (err != nil && !strings.Contains(err.Error(), c.wants)) {
				t.Errorf("got %v, want %q", err, c.wants)
			}
		})
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	c, err := config.Settings{CronSecret: "hunter2-hunter2-hunter2"}.Parse()
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("start", "secret", c.CronSecret.Current, "config", c)
	shown := string(encoded) + logged.String() + fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c.CronSecret, c.CronSecret.Current)
	if strings.Contains(shown, "hunter2") {
		t.Errorf("a secret shows in %s", shown)
	}
	if !strings.Contains(shown, "(hidden)") {
		t.Error("nothing says that there is a secret")
	}
	if c.CronSecret.Current.Reveal() != "hunter2-hunter2-hunter2" {
		t.Error("the secret itself is lost")
	}
}

func TestNextIsInUTC(t *testing.T) {
	after := time.Date(2026, 3, 1, 4, 30, 0, 0, time.FixedZone("", 3*3600)) // 01:30 UTC
	if got, want := config.Next("0 2 * * *", after), time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := config.Next("nonsense", after); !got.IsZero() {
		t.Errorf("got %v for nonsense", got)
	}
}

func TestShowDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		24 * time.Hour: "1d", 720 * time.Hour: "30d", 36 * time.Hour: "36h", 90 * time.Minute: "1h30m", 45 * time.Second: "45s", 10 * time.Minute: "10m",
	} {
		if got := config.ShowDuration(d); got != want {
			t.Errorf("ShowDuration(%v) = %q, want %q", d, got, want)
		}
	}
}
