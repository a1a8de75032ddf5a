package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/metrics"
)

// SelfTest tests an installation: the database and the storage that the
// settings name. It tells report about each test in order, with nil for one
// that passed. Everything happens in one transaction that is rolled back, on a
// day long ago that holds nothing else, so that the tests know what to expect;
// log events are looked at and dropped. The one thing that touches the storage
// is a probe file that is deleted again. Writers wait while it runs, usually
// well under a second.
func SelfTest(ctx context.Context, c config.Config, report func(name string, err error)) error {
	t := &selfTest{cfg: c, ctx: ctx}
	store, err := OpenStore(ctx, c)
	if err != nil {
		t.broken = err
		return t.all(report)
	}
	files, err := OpenFiles(ctx, c)
	if err == nil {
		t.files = files
		t.empty, err = files.Check(ctx)
	}
	t.noFiles = err
	began := false
	err = store.Rehearse(ctx, func(play exportops.Store) error {
		began = true
		t.store = play
		t.broken = t.prepare()
		return t.all(report)
	})
	if !began {
		t.broken = err
		err = t.all(report)
	}
	if t.files != nil {
		err = errors.Join(err, files.Close())
	}
	return errors.Join(err, store.Close())
}

// selfTest is one series of tests. Later ones use what earlier ones made.
type selfTest struct {
	ctx     context.Context // one series, one context
	cfg     config.Config
	store   exportops.Store
	files   exportops.FileStore
	empty   bool  // the storage holds nothing
	noFiles error // why the storage cannot be used
	broken  error // why no test can run

	day     exportops.Time // midnight of a day that holds nothing
	user    string
	events  eventList
	metrics *metrics.Service
	export  exportops.Export
}

// eventList keeps events to look at.
type eventList []exportops.EventType

// Emit keeps the event's type.
func (l *eventList) Emit(t exportops.EventType, _ any) { *l = append(*l, t) }

func (l *eventList) count(t exportops.EventType) (n int) {
	for _, e := range *l {
		if e == t {
			n++
		}
	}
	return n
}

// all runs every test, also after one failed: each shows something of its own.
func (t *selfTest) all(report func(string, error)) error {
	for _, x := range []struct {
		name string
		test func() error
	}{
		{"Create test export", t.createExport},
		{"Export metrics logging", t.logMetrics},
		{"Metrics aggregation", t.aggregate},
		{"Failure rate alerting", t.failureRate},
		{"Export volume statistics", t.volume},
		{"File cleanup dry run", t.fileCleanup},
		{"Log cleanup statistics", t.logStatistics},
	} {
		err := t.broken
		if err == nil {
			err = x.test()
		}
		if t.ctx.Err() != nil {
			return t.ctx.Err()
		}
		report(x.name, err)
	}
	return nil
}

// prepare finds a day without exports, and a user: the tables that we adopt may
// ask for one who exists.
func (t *selfTest) prepare() error {
	for month := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC); t.day.IsZero(); month = month.AddDate(0, 1, 0) {
		if month.Year() > 2015 {
			return errors.New("there is no month without exports before 2015 to test on")
		}
		first, found, err := t.store.FirstActivity(t.ctx, exportops.At(month))
		if err != nil {
			return err
		}
		if !found || first.Sub(month) > 31*24*time.Hour {
			t.day = exportops.At(month.AddDate(0, 0, 15))
		}
	}
	newest, _, err := t.store.Exports(t.ctx, exportops.ExportFilter{Limit: 1})
	if err != nil {
		return err
	}
	t.user = exportops.NewID()
	if len(newest) > 0 {
		if id, err := exportops.ParseID("user_id", newest[0].UserID); err == nil {
			t.user = id
		}
	}
	now := t.at(13, 30)
	t.metrics = metrics.New(t.store, metrics.Options{
		Events: &t.events, Now: func() exportops.Time { return now }, Retention: t.cfg.LogRetention,
	})
	return nil
}

// at is a time of the test's day.
func (t *selfTest) at(hour, minute int) exportops.Time {
	return exportops.At(t.day.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute))
}

// differs returns an error unless got is want.
func differs[T comparable](what string, got, want T) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("%s is %v, want %v", what, got, want)
}
