package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
)

func TestServeStops(t *testing.T) {
	t.Run("at_once_when_idle_and_serves_again", func(t *testing.T) {
		s := open(t, settings(t, nil))
		defer s.close()
		for range 2 {
			s.serve()
			if code, body, err := s.call(http.MethodGet, "/readyz", "", ""); err != nil || code != http.StatusOK {
				t.Errorf("%d %s %v", code, body, err)
			}
			s.stops(stopSoon)
		}
	})
	t.Run("answering_a_cron_call_and_releasing_its_run", func(t *testing.T) {
		c := settings(t, nil)
		s := open(t, c)
		s.slow(c, 100*time.Millisecond)
		s.expired(c.Storage.Root, 300)
		s.serve()
		type answer struct {
			code int
			body []byte
			err  error
		}
		answered := make(chan answer, 1)
		go func() {
			code, body, err := s.call(http.MethodPost, "/api/cron/export-file-cleanup", secret, "")
			answered <- answer{code, body, err}
		}()
		wait(t, "the run to delete something", func() bool {
			r, ok := s.latest()
			return ok && strings.Contains(string(r.Result), "deleted_count")
		})
		s.stops(stopSoon)
		a := <-answered
		var pending struct {
			RunID string `json:"run_id"`
		}
		if err := json.Unmarshal(a.body, &pending); a.err != nil || err != nil || a.code != http.StatusAccepted || pending.RunID == "" {
			t.Fatalf("%d %s %v %v", a.code, a.body, a.err, err)
		}
		if r := s.run(pending.RunID); !r.Abandoned(exportops.At(time.Now())) {
			t.Errorf("the run is %s, held until %s", r.State, r.LeaseUntil)
		}
		s.close()
		// The next start goes on with it.
		s = open(t, c)
		defer s.close()
		s.serve()
		wait(t, "the run to be taken over and end", func() bool { return s.run(pending.RunID).State == exportops.RunDone })
		if left, err := os.ReadDir(c.Storage.Root); err != nil || len(left) > 0 {
			t.Errorf("%d files are left, %v", len(left), err)
		}
		s.stops(stopSoon)
	})
	t.Run("taking_no_new_requests_while_runs_end", func(t *testing.T) {
		c := settings(t, nil)
		s := open(t, c)
		defer s.close()
		s.slow(c, time.Second)
		s.expired(c.Storage.Root, 20)
		// A run whose process died is taken over by the start.
		_, _, _, err := s.Store.BeginRun(t.Context(), exportops.RunRequest{
			Job: exportops.FileCleanup, Lane: string(exportops.FileCleanup), Params: []byte("{}"), Trigger: exportops.ByCron,
			Holder: "dead", Now: exportops.At(time.Now().Add(-time.Minute)), Lease: exportops.LeaseLength,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.serve()
		wait(t, "the run to be taken over", func() bool { r, _ := s.latest(); return r.Takeovers == 1 })
		deleted := func(n int) func() bool {
			return func() bool {
				r, _ := s.latest()
				return strings.Contains(string(r.Result), fmt.Sprintf(`"deleted_count":%d,`, n))
			}
		}
		wait(t, "the run to delete something", deleted(1))
		wait(t, "the run to begin with the next", deleted(2))
		s.stop()
		wait(t, "connections to be refused", func() bool {
			c, err := net.DialTimeout("tcp", strings.TrimPrefix(s.url, "http://"), time.Second)
			if err == nil {
				err = c.Close()
			}
			return err != nil
		})
		if r, _ := s.latest(); r.Abandoned(exportops.At(time.Now())) {
			t.Error("the run had ended by then")
		}
		s.stops(stopSoon)
	})
	t.Run("keeping_what_it_acknowledged", func(t *testing.T) {
		c := settings(t, nil)
		s := open(t, c)
		s.serve()
		var acknowledged [4][]string
		var sent atomic.Int64
		var senders sync.WaitGroup
		for i := range acknowledged {
			senders.Go(func() {
				for {
					id := exportops.NewID()
					code, _, err := s.call(http.MethodPost, "/api/v1/metrics", secret+"-ingest", fmt.Sprintf(
						`{"export_id":%q,"user_id":%q,"format":"csv","status":"completed","conversation_count":1,"duration_ms":5,"file_size_bytes":1}`,
						id, exportops.NewID()))
					sent.Add(1)
					if err != nil || code != http.StatusAccepted {
						return
					}
					acknowledged[i] = append(acknowledged[i], id)
				}
			})
		}
		wait(t, "a hundred metrics", func() bool { return sent.Load() > 100 })
		s.stops(stopSoon)
		senders.Wait()
		s.close()
		s = open(t, c)
		defer s.close()
		total := 0
		for _, ids := range acknowledged {
			for _, id := range ids {
				total++
				var n int
				err := writer(s.Store).QueryRowContext(t.Context(), `SELECT count(*) FROM exportops_export_metrics WHERE export_id = ?`, id).Scan(&n)
				if err != nil || n != 1 {
					t.Fatalf("%s was acknowledged and is there %d times, %v", id, n, err)
				}
			}
		}
		if total < 96 {
			t.Errorf("%d were acknowledged", total)
		}
	})
}

func TestServeBegins(t *testing.T) {
	t.Run("not_on_an_address_in_use", func(t *testing.T) {
		first := open(t, settings(t, nil))
		defer first.close()
		first.serve()
		second := open(t, settings(t, func(s *config.Settings) { s.Addr = strings.TrimPrefix(first.url, "http://") }))
		defer second.close()
		var e *exportops.Error
		err := second.Serve(t.Context(), false, nil)
		if !errors.As(err, &e) || e.Kind != exportops.KindUnavailable || e.Field != "EXPORTOPS_ADDR" || e.Hint == "" {
			t.Errorf("%v", err)
		}
		if code, _, err := first.call(http.MethodGet, "/readyz", "", ""); err != nil || code != http.StatusOK {
			t.Errorf("the first answers %d, %v", code, err)
		}
		first.stops(stopSoon)
	})
	t.Run("with_the_scheduler_off_and_watches_all_the_same", func(t *testing.T) {
		s := open(t, settings(t, func(s *config.Settings) { s.Scheduler = "off" }))
		defer s.close()
		dead, _, _, err := s.Store.BeginRun(t.Context(), exportops.RunRequest{
			Job: exportops.FileCleanup, Lane: string(exportops.FileCleanup), Params: []byte("{}"), Trigger: exportops.ByCron,
			Holder: "dead", Now: exportops.At(time.Now().Add(-time.Minute)), Lease: exportops.LeaseLength,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.serve()
		wait(t, "the run to be taken over", func() bool { return s.run(dead.ID).State == exportops.RunDone })
		s.stops(stopSoon)
		for _, table := range []string{"exportops_schedules", "river_job", "river_leader", "river_queue"} {
			var n int
			if err := writer(s.Store).QueryRowContext(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil || n != 0 {
				t.Errorf("%s has %d rows, %v", table, n, err)
			}
		}
	})
}
