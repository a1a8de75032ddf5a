package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/exportops/exportops"
)

// Config is the settings, parsed.
type Config struct {
	DatabasePath string   // of the SQLite file, absolute; "" on Postgres
	Postgres     Postgres // without a URL on SQLite
	LogsTable    string   // on Postgres with its schema

	Storage   Storage
	KeyPrefix string   // "" for none; may hold {user_id}
	Hosts     []string // of URLs that name files of the storage

	// Archive is where archives are; nil where rows are deleted without one.
	Archive *Storage
	// ArchiveConfigured says that log rows are archived before they are deleted.
	ArchiveConfigured bool

	// FileRetention and LogRetention hold where there is no policy. Beside one they
	// are its default for files and its shortest for logs; where that is never, a
	// century.
	FileRetention time.Duration
	LogRetention  time.Duration
	Policy        *exportops.Policy // nil where there is none

	// RestoredFrom is the time of the backup that the database was restored from;
	// zero where it was not, or where everything is settled.
	RestoredFrom exportops.Time

	Scheduler bool
	// AlertInterval is how often alert rules are looked at, 0 for never.
	AlertInterval time.Duration
	// Rules are the alert rules of the settings file; nil for the default ones.
	Rules []exportops.AlertRule
	// AlertReminder is how long after the last word channels are reminded of an
	// incident, 0 for never.
	AlertReminder time.Duration
	Schedules     map[exportops.Job]string // five-field cron expressions, in UTC

	Addr        string // host:port
	MetricsAddr string // likewise; "" for none
	CronSecret  Rotated
	Ingest      Rotated
	Read        Rotated
	Admin       Rotated

	LogUserIDs UserIDs
	LogUserKey Secret

	// Channels are those of the settings file. Heartbeats are the addresses that are
	// pinged when a job runs.
	Channels   []Channel
	Heartbeats map[exportops.Job]Secret
	// PrivateTargets are networks that both may reach although they are not public.
	PrivateTargets []netip.Prefix
}

// Rotated is a secret with the one before it, which is accepted too while it
// is rotated.
type Rotated struct{ Current, Previous Secret }

// Values returns those that are set.
func (r Rotated) Values() []string {
	var all []string
	for _, s := range []Secret{r.Current, r.Previous} {
		if s != "" {
			all = append(all, s.Reveal())
		}
	}
	return all
}

// UserIDs says how user ids appear in log events.
type UserIDs string

// The ways.
const (
	PlainUserIDs UserIDs = "plain"
	HashUserIDs  UserIDs = "hash" // keyed, so that equal users stay equal
	OmitUserIDs  UserIDs = "omit"
)

// MinSecret is the fewest characters of a secret.
const MinSecret = 16

// Parse reads every setting. The error joins one error per mistake, each an
// *exportops.Error whose Field names the setting.
func (s Settings) Parse() (Config, error) { return s.ParseBeside(nil) }

// ParseBeside is Parse beside the retention policy of the settings file.
func (s Settings) ParseBeside(policy *exportops.Policy) (Config, error) {
	s.fillDefaults()
	var errs []error
	keep := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var c Config
	var err error
	var wrong []error
	c.DatabasePath, c.Postgres, wrong = s.database()
	errs = append(errs, wrong...)
	c.LogsTable, err = tableName(s.LogsTable, c.Postgres.URL != "")
	keep(err)
	c.Storage, err = s.storage()
	keep(err)
	if c.Storage.Supabase != nil && s.KeyPrefix == "" {
		s.KeyPrefix = "{user_id}/" // as its storage policies have it
	}
	c.KeyPrefix, err = keyPrefix(s.KeyPrefix)
	keep(err)
	if s.SupabaseURL != "" && !webURL(s.SupabaseURL) {
		keep(invalid("SUPABASE_URL", fmt.Sprintf("%q is not the URL of a project", s.SupabaseURL), "use something like https://abcdefgh.supabase.co"))
	}
	c.Hosts = c.Storage.Hosts(s.SupabaseURL)
	c.ArchiveConfigured = s.ArchiveBucket != "" || s.ArchiveURL != ""
	c.Archive, err = s.archive(c.Storage)
	keep(err)
	c.Policy = policy
	c.FileRetention, c.LogRetention, err = s.retentions(policy)
	keep(err)
	c.RestoredFrom, err = restoredFrom(s.RestoredFrom)
	keep(err)
	scheduler, err := oneOf("EXPORTOPS_SCHEDULER", s.Scheduler, "on", "off")
	keep(err)
	c.Scheduler = scheduler == "on"
	c.AlertInterval, err = alertInterval(s.AlertInterval)
	keep(err)
	c.AlertReminder, err = alertReminder(s.AlertReminder)
	keep(err)
	c.Schedules = map[exportops.Job]string{}
	for job, given := range map[exportops.Job][2]string{
		exportops.MetricsAggregate: {"EXPORTOPS_SCHEDULE_METRICS", s.ScheduleMetrics},
		exportops.FileCleanup:      {"EXPORTOPS_SCHEDULE_FILES", s.ScheduleFiles},
		exportops.LogCleanup:       {"EXPORTOPS_SCHEDULE_LOGS", s.ScheduleLogs},
	} {
		c.Schedules[job], err = schedule(given[0], given[1])
		keep(err)
	}
	if s.ScheduleReconcile != "off" {
		c.Schedules[exportops.Reconcile], err = schedule("EXPORTOPS_SCHEDULE_RECONCILE", s.ScheduleReconcile)
		keep(err)
	}
	c.Addr, err = address("EXPORTOPS_ADDR", s.Addr)
	keep(err)
	if s.MetricsAddr != "" {
		c.MetricsAddr, err = address("EXPORTOPS_METRICS_ADDR", s.MetricsAddr)
		keep(err)
	}
	c.CronSecret = Rotated{s.CronSecret, s.CronSecretPrevious}
	c.Ingest = Rotated{s.IngestToken, s.IngestTokenPrevious}
	c.Read = Rotated{s.ReadToken, s.ReadTokenPrevious}
	c.Admin = Rotated{s.AdminToken, s.AdminTokenPrevious}
	keep(s.checkSecrets())
	ids, err := oneOf("EXPORTOPS_LOG_USER_IDS", s.LogUserIDs, string(PlainUserIDs), string(HashUserIDs), string(OmitUserIDs))
	keep(err)
	c.LogUserIDs, c.LogUserKey = UserIDs(ids), s.LogUserKey
	if c.LogUserIDs == HashUserIDs && len(c.LogUserKey) < MinSecret {
		keep(invalid("EXPORTOPS_LOG_USER_KEY", "hashing user ids needs a key of at least "+strconv.Itoa(MinSecret)+" characters",
			"make one with: openssl rand -hex 32"))
	}
	c.PrivateTargets, err = privateTargets(s.AllowPrivateTargets)
	keep(err)
	c.Heartbeats, err = s.heartbeats()
	keep(err)
	return c, errors.Join(errs...)
}

// Retentions are the settings of how long files and log rows are kept, as they hold
// where there is no retention policy.
func (s Settings) Retentions() (files, logs string) {
	return cmp.Or(s.FileRetention, "24h"), cmp.Or(s.LogRetention, "30d")
}

// retentions reads how long things are kept. Two settings that say it would be
// one too many: which of them holds could not be seen from either.
func (s Settings) retentions(policy *exportops.Policy) (files, logs time.Duration, err error) {
	var errs []error
	if policy == nil {
		var wrong [2]error
		ofFiles, ofLogs := s.Retentions()
		files, wrong[0] = retention("EXPORT_FILE_RETENTION", ofFiles, exportops.MinFileRetention)
		logs, wrong[1] = retention("EXPORT_LOG_RETENTION", ofLogs, exportops.MinLogRetention)
		return files, logs, errors.Join(wrong[:]...)
	}
	for name, given := range map[string]string{"EXPORT_FILE_RETENTION": s.FileRetention, "EXPORT_LOG_RETENTION": s.LogRetention} {
		if given != "" {
			errs = append(errs, invalid(name, "the settings file has a retention policy, which says how long everything is kept",
				"unset it, or remove the section retention"))
		}
	}
	file, _ := policy.Default()
	return file.OrCentury(), policy.ShortestLogs().OrCentury(), errors.Join(errs...)
}

// checkSecrets looks at what holds for a secret wherever it is used. Whether
// one is needed, and how long it must be, is up to serve.
func (s Settings) checkSecrets() error {
	var errs []error
	for _, x := range []struct {
		name              string
		current, previous Secret
	}{
		{"CRON_SECRET", s.CronSecret, s.CronSecretPrevious},
		{"EXPORTOPS_INGEST_TOKEN", s.IngestToken, s.IngestTokenPrevious},
		{"EXPORTOPS_READ_TOKEN", s.ReadToken, s.ReadTokenPrevious},
		{"EXPORTOPS_ADMIN_TOKEN", s.AdminToken, s.AdminTokenPrevious},
	} {
		if x.current == "" && x.previous != "" {
			errs = append(errs, invalid(x.name+"_PREVIOUS", "it is set while "+x.name+" is not", "set "+x.name+" to the new value"))
		}
		for name, secret := range map[string]Secret{x.name: x.current, x.name + "_PREVIOUS": x.previous} {
			if strings.ContainsFunc(secret.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
				errs = append(errs, invalid(name, "it holds a character that cannot stand in a header",
					"use letters, digits and punctuation, without spaces"))
			}
		}
	}
	return errors.Join(errs...)
}

// CheckServe reports what keeps the server from starting with these settings:
// a missing or short secret, or, in development mode, an address that others
// can reach. Development mode allows short secrets.
func (c Config) CheckServe(dev bool) error {
	var errs []error
	if dev && !loopback(c.Addr) {
		errs = append(errs, invalid("EXPORTOPS_ADDR", "--dev leaves the API open, and "+strconv.Quote(c.Addr)+" can be reached by others",
			"use a loopback address such as 127.0.0.1:8080"))
	}
	if c.CronSecret.Current == "" {
		errs = append(errs, invalid("CRON_SECRET", "it is required to serve", "make one with: openssl rand -hex 32"))
	}
	if dev {
		return errors.Join(errs...)
	}
	for name, r := range map[string]Rotated{
		"CRON_SECRET": c.CronSecret, "EXPORTOPS_INGEST_TOKEN": c.Ingest,
		"EXPORTOPS_READ_TOKEN": c.Read, "EXPORTOPS_ADMIN_TOKEN": c.Admin,
	} {
		for suffix, secret := range map[string]Secret{"": r.Current, "_PREVIOUS": r.Previous} {
			if secret != "" && len(secret) < MinSecret {
				errs = append(errs, invalid(name+suffix, "it is shorter than "+strconv.Itoa(MinSecret)+" characters",
					"make one with: openssl rand -hex 32"))
			}
		}
	}
	return errors.Join(errs...)
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
