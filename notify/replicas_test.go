package notify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/alerting"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/metrics"
	"github.com/exportops/exportops/notify"
	"github.com/exportops/exportops/postgres"
	"github.com/exportops/exportops/sqlite"
)

// Three replicas see 1,000 incidents at the same time: each is one record and one
// message, which arrives although the channel often says that it did not come, and
// although one replica dies with what it had sent.
func TestReplicas(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "exportops.db")
		replicas(t, func() exportops.Database {
			s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Create: true})
			must(t, err)
			must(t, s.Migrate(t.Context()))
			return s
		})
	})
	t.Run("postgres", func(t *testing.T) {
		url := newDatabase(t)
		replicas(t, func() exportops.Database {
			s, err := postgres.Open(t.Context(), postgres.Options{URL: url})
			must(t, err)
			must(t, s.Migrate(t.Context()))
			_, err = s.CreateExportLogs(t.Context())
			must(t, err)
			must(t, s.Ready(t.Context()))
			return s
		})
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newDatabase makes an empty database on the test server.
func newDatabase(t *testing.T) string {
	t.Helper()
	server := os.Getenv("EXPORTOPS_TEST_POSTGRES")
	if server == "" {
		t.Skip("EXPORTOPS_TEST_POSTGRES names no server")
	}
	ctx := context.Background() // the database is dropped after the test's context has ended
	admin, err := pgx.Connect(ctx, server)
	must(t, err)
	t.Cleanup(func() { _ = admin.Close(ctx) })
	name := "exportops_" + strings.ReplaceAll(exportops.NewID(), "-", "")
	_, err = admin.Exec(ctx, `CREATE DATABASE `+name)
	must(t, err)
	t.Cleanup(func() {
		if _, err := admin.Exec(ctx, `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(server)
	must(t, err)
	u.Path = "/" + name
	return u.String()
}

// flaky is a channel that takes every message, and says of every tenth that it did
// not.
type flaky struct {
	mu    sync.Mutex
	calls int
	came  map[string]int             // by message
	of    map[string]map[string]bool // the messages of an incident
}

func (c *flaky) Send(_ context.Context, m exportops.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[m.Incident.ID] == nil {
		c.of[m.Incident.ID] = map[string]bool{}
	}
	c.of[m.Incident.ID][m.ID] = true
	c.came[m.ID]++
	if c.calls++; c.calls%10 == 0 {
		return errors.New("no answer in time, although it came")
	}
	return nil
}

// dying is the outbox of a process that dies after it settled so many messages.
type dying struct {
	notify.Outbox
	mu   sync.Mutex
	left int
}

func (d *dying) alive(settles int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left -= settles
	return d.left > 0
}

func (d *dying) ClaimNotifications(ctx context.Context, c exportops.NotificationClaim) ([]exportops.Notification, error) {
	if !d.alive(0) {
		return nil, nil
	}
	return d.Outbox.ClaimNotifications(ctx, c)
}

func (d *dying) SettleNotification(ctx context.Context, o exportops.NotificationOutcome) (bool, error) {
	if !d.alive(1) {
		return false, errors.New("the process died")
	}
	return d.Outbox.SettleNotification(ctx, o)
}

func replicas(t *testing.T, open func() exportops.Database) {
	const many, incidents = 3, 1000
	var hours atomic.Int64 // what the clock of all went on
	now := func() time.Time { return testworld.Noon.Add(time.Duration(hours.Load()) * time.Hour) }
	at := func() exportops.Time { return exportops.At(now()) }
	var rules []exportops.AlertRule
	for n := range incidents {
		rules = append(rules, exportops.AlertRule{
			Name: fmt.Sprintf("rule-%04d", n), Kind: exportops.AlertVolume, Severity: exportops.SeverityHigh, Threshold: -1, Clear: -1, Window: time.Hour,
		})
	}
	ops := &flaky{came: map[string]int{}, of: map[string]map[string]bool{}}
	var stores []exportops.Database
	var senders []*notify.Sender
	var watching sync.WaitGroup
	for n := range many {
		store := open()
		t.Cleanup(func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
		stores = append(stores, store)
		var outbox notify.Outbox = store
		if n == 0 {
			outbox = &dying{Outbox: store, left: 30}
		}
		senders = append(senders, notify.NewSender(notify.SenderOptions{
			Outbox: outbox, Channels: map[string]exportops.Channel{"ops": ops}, Now: now, Log: slog.New(slog.DiscardHandler),
		}))
	}
	var services []*alerting.Service
	for _, store := range stores {
		services = append(services, alerting.New(alerting.Options{
			Store: store, Runs: store, Figures: metrics.New(store, metrics.Options{Now: at}), Events: exportops.NoEvents{}, Rules: rules, Now: now,
			Audiences: []exportops.Audience{{Channel: "ops"}},
		}))
	}
	for _, service := range services {
		watching.Go(func() {
			err := service.Evaluate(t.Context())
			for tries := 0; tries < 5 && exportops.IsKind(err, exportops.KindUnavailable); tries++ { // it was busy
				err = service.Evaluate(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	watching.Wait()
	must(t, services[0].Evaluate(t.Context())) // it tells nothing anew

	left := func() []exportops.ChannelBacklog {
		all, err := stores[0].NotificationBacklog(t.Context(), at())
		must(t, err)
		return all
	}
	rounds := 0
	for ; rounds < 200 && len(left()) > 0; rounds++ {
		var sending sync.WaitGroup
		for _, x := range senders {
			sending.Go(func() {
				if _, err := x.SendDue(t.Context()); err != nil && !exportops.IsKind(err, exportops.KindUnavailable) {
					t.Error(err)
				}
			})
		}
		sending.Wait()
		hours.Add(2)
	}

	records, attempts, twice := 0, 0, 0
	f := exportops.IncidentFilter{Limit: exportops.MaxPage}
	for next := "more"; next != ""; f.Before = next {
		var page []exportops.Incident
		var err error
		page, next, err = stores[0].Incidents(t.Context(), f)
		must(t, err)
		records += len(page)
	}
	for _, n := range ops.came {
		if attempts += n; n > 1 {
			twice++
		}
	}
	for id, messages := range ops.of {
		if len(messages) != 1 {
			t.Errorf("of incident %s came %d messages", id, len(messages))
		}
	}
	kept := notifications(t, stores[0])
	if records != incidents || kept != incidents || len(left()) > 0 || len(ops.came) != incidents || len(ops.of) != incidents {
		t.Errorf("%d incidents are %d records and %d messages; %d came; left are %+v", incidents, records, kept, len(ops.came), left())
	}
	if twice == 0 {
		t.Error("no message came twice: nothing was shown")
	}
	t.Logf("%d incidents seen by %d replicas: %d records, %d messages, %d deliveries in %d rounds; %d messages came more than once, under the same id",
		incidents, many, records, kept, attempts, rounds, twice)
}

// notifications counts all there are.
func notifications(t *testing.T, s exportops.Database) (n int) {
	t.Helper()
	f := exportops.NotificationFilter{Limit: exportops.MaxPage}
	for {
		page, next, err := s.Notifications(t.Context(), f)
		must(t, err)
		if n += len(page); next == "" {
			return n
		}
		f.Before = next
	}
}
