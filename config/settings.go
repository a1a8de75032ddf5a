// Package config reads the settings: from flags, the environment and
// exportops.yaml, in that order of precedence. Every mistake is reported at
// once, with the setting's name, its value unless it is a secret, and what is
// accepted.
package config

import "reflect"

// Settings are the settings as text. Each field is a flag, a variable of the
// environment and a key of exportops.yaml: the flag's name with "_" for "-".
// An empty value is an unset one.
type Settings struct {
	DatabaseURL string `name:"database-url" env:"DATABASE_URL" default:"sqlite://exportops.db" placeholder:"URL" group:"settings" help:"sqlite:///absolute/file.db, sqlite://relative.db or postgres://user:password@host/database (${default})"`
	LogsTable   string `name:"logs-table" env:"EXPORT_LOGS_TABLE" default:"export_logs" placeholder:"NAME" group:"settings" help:"table or view that holds the export logs; on Postgres with its schema, public where none is named (${default})"`

	DBPoolSize         string `name:"db-pool-size" env:"EXPORTOPS_DB_POOL_SIZE" default:"10" placeholder:"N" group:"settings" help:"most connections to Postgres (${default})"`
	DBLockTimeout      string `name:"db-lock-timeout" env:"EXPORTOPS_DB_LOCK_TIMEOUT" default:"5s" placeholder:"DURATION" group:"settings" help:"how long a statement waits for a lock on Postgres (${default})"`
	DBStatementTimeout string `name:"db-statement-timeout" env:"EXPORTOPS_DB_STATEMENT_TIMEOUT" default:"60s" placeholder:"DURATION" group:"settings" help:"how long a statement may take on Postgres (${default})"`

	StorageURL string `name:"storage-url" env:"EXPORT_STORAGE_URL" default:"file://exports" placeholder:"URL" group:"settings" help:"file:///absolute/dir?bucket=&prefix=, s3://bucket/prefix?endpoint=&region=&path_style=&verify=full&sse=, or supabase://bucket/prefix (${default})"`
	KeyPrefix  string `name:"key-prefix" env:"EXPORT_KEY_PREFIX" placeholder:"PREFIX" group:"settings" help:"what a row's key must begin with, such as {user_id}/ (that for supabase://, else nothing)"`

	SupabaseURL string `name:"supabase-url" env:"SUPABASE_URL" placeholder:"URL" group:"settings" help:"of the project, for supabase:// and for rows that name its URLs"`
	SupabaseKey Secret `name:"supabase-service-role-key" env:"SUPABASE_SERVICE_ROLE_KEY" placeholder:"SECRET" group:"secrets" help:"service role key of the project, for supabase://"`

	ArchiveBucket string `name:"archive-bucket" env:"EXPORT_ARCHIVE_BUCKET" placeholder:"NAME" group:"settings" help:"archive log rows to this bucket before they are deleted: one of the storage's project where that is supabase://, of its service where that is s3:// with an endpoint, else of AWS"`
	ArchiveRegion string `name:"archive-region" env:"EXPORT_ARCHIVE_REGION" default:"us-east-1" placeholder:"REGION" group:"settings" help:"of the archive bucket, on S3 (${default})"`
	ArchiveURL    string `name:"archive-url" env:"EXPORT_ARCHIVE_URL" placeholder:"URL" group:"settings" help:"the archive as a URL like that of the storage, instead of bucket and region; it must lie outside the storage"`

	FileRetention string `name:"file-retention" env:"EXPORT_FILE_RETENTION" placeholder:"DURATION" group:"settings" help:"expiry of an export that is completed without one, and the default of cleanup by age (24h); not beside a retention policy"`
	LogRetention  string `name:"log-retention" env:"EXPORT_LOG_RETENTION" placeholder:"DURATION" group:"settings" help:"how long log rows are kept (30d); not beside a retention policy"`

	RestoredFrom string `name:"restored-from" env:"EXPORTOPS_RESTORED_FROM" placeholder:"TIME" group:"settings" help:"the database was restored from a backup of this time: what is younger is left alone, see docs/restored-backup.md"`

	Scheduler       string `name:"scheduler" env:"EXPORTOPS_SCHEDULER" default:"on" placeholder:"on|off" group:"settings" help:"off where an external cron calls the endpoints (${default})"`
	ScheduleMetrics string `name:"schedule-metrics" env:"EXPORTOPS_SCHEDULE_METRICS" default:"0 * * * *" placeholder:"CRON" group:"settings" help:"of metrics-aggregate, in UTC (${default})"`
	ScheduleFiles   string `name:"schedule-files" env:"EXPORTOPS_SCHEDULE_FILES" default:"0 2 * * *" placeholder:"CRON" group:"settings" help:"of file-cleanup, in UTC (${default})"`
	ScheduleLogs    string `name:"schedule-logs" env:"EXPORTOPS_SCHEDULE_LOGS" default:"0 3 1 * *" placeholder:"CRON" group:"settings" help:"of log-cleanup, in UTC (${default})"`

	ScheduleReconcile string `name:"schedule-reconcile" env:"EXPORTOPS_SCHEDULE_RECONCILE" default:"off" placeholder:"CRON|off" group:"settings" help:"of reconcile, in UTC: it reads the names of all files (${default})"`

	AlertInterval string `name:"alert-interval" env:"EXPORTOPS_ALERT_INTERVAL" default:"1m" placeholder:"DURATION" group:"settings" help:"how often serve holds the alert rules against the figures, besides after each aggregation; off for never (${default})"`

	AlertReminder       string `name:"alert-reminder" env:"EXPORTOPS_ALERT_REMINDER" default:"4h" placeholder:"DURATION" group:"settings" help:"how long after the last word channels are reminded of what still fires, unless somebody looks; off for never (${default})"`
	AllowPrivateTargets string `name:"allow-private-targets" env:"EXPORTOPS_ALLOW_PRIVATE_TARGETS" placeholder:"NETWORKS" group:"settings" help:"networks that channels and heartbeats may reach although they are not public, such as 10.1.0.0/16,127.0.0.1"`

	HeartbeatMetrics   Secret `name:"heartbeat-metrics" env:"EXPORTOPS_HEARTBEAT_METRICS" placeholder:"URL" group:"secrets" help:"pinged when metrics-aggregate begins and ends, as Healthchecks and Cronitor take it"`
	HeartbeatFiles     Secret `name:"heartbeat-files" env:"EXPORTOPS_HEARTBEAT_FILES" placeholder:"URL" group:"secrets" help:"the same for file-cleanup"`
	HeartbeatLogs      Secret `name:"heartbeat-logs" env:"EXPORTOPS_HEARTBEAT_LOGS" placeholder:"URL" group:"secrets" help:"the same for log-cleanup"`
	HeartbeatReconcile Secret `name:"heartbeat-reconcile" env:"EXPORTOPS_HEARTBEAT_RECONCILE" placeholder:"URL" group:"secrets" help:"the same for reconcile"`

	Addr string `name:"addr" env:"EXPORTOPS_ADDR" default:"127.0.0.1:8080" placeholder:"HOST:PORT" group:"settings" help:"where serve listens (${default})"`

	MetricsAddr string `name:"metrics-addr" env:"EXPORTOPS_METRICS_ADDR" placeholder:"HOST:PORT" group:"settings" help:"where serve shows /metrics to Prometheus; nowhere where it is not set"`

	CronSecret          Secret `name:"cron-secret" env:"CRON_SECRET" placeholder:"SECRET" group:"secrets" help:"bearer secret of the cron endpoints, 16 characters or more; required to serve"`
	CronSecretPrevious  Secret `name:"cron-secret-previous" env:"CRON_SECRET_PREVIOUS" placeholder:"SECRET" group:"secrets" help:"still accepted while the secret is rotated"`
	IngestToken         Secret `name:"ingest-token" env:"EXPORTOPS_INGEST_TOKEN" placeholder:"SECRET" group:"secrets" help:"bearer token for writing to /api/v1; closed without one"`
	IngestTokenPrevious Secret `name:"ingest-token-previous" env:"EXPORTOPS_INGEST_TOKEN_PREVIOUS" placeholder:"SECRET" group:"secrets" help:"still accepted while the token is rotated"`
	ReadToken           Secret `name:"read-token" env:"EXPORTOPS_READ_TOKEN" placeholder:"SECRET" group:"secrets" help:"bearer token for reading from /api/v1; closed without one"`
	ReadTokenPrevious   Secret `name:"read-token-previous" env:"EXPORTOPS_READ_TOKEN_PREVIOUS" placeholder:"SECRET" group:"secrets" help:"still accepted while the token is rotated"`
	AdminToken          Secret `name:"admin-token" env:"EXPORTOPS_ADMIN_TOKEN" placeholder:"SECRET" group:"secrets" help:"bearer token for deleting through /api/v1, and reading; closed without one"`
	AdminTokenPrevious  Secret `name:"admin-token-previous" env:"EXPORTOPS_ADMIN_TOKEN_PREVIOUS" placeholder:"SECRET" group:"secrets" help:"still accepted while the token is rotated"`

	LogUserIDs string `name:"log-user-ids" env:"EXPORTOPS_LOG_USER_IDS" default:"plain" placeholder:"plain|hash|omit" group:"settings" help:"user ids in log events (${default})"`
	LogUserKey Secret `name:"log-user-key" env:"EXPORTOPS_LOG_USER_KEY" placeholder:"SECRET" group:"secrets" help:"key of the hash, 16 characters or more, for hash"`
}

// Defaults returns the settings where nothing is set.
func Defaults() Settings {
	var s Settings
	s.fillDefaults()
	return s
}

// fillDefaults gives every empty setting its default.
func (s *Settings) fillDefaults() {
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Len() == 0 {
			f.SetString(v.Type().Field(i).Tag.Get("default"))
		}
	}
}
