package notify

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/exportops/exportops"
)

// Bounds of heartbeats.
const (
	beatWithin    = 5 * time.Second // with every attempt
	beatAttempts  = 3
	beatPause     = 500 * time.Millisecond // before the second attempt; then twice as long
	giveWayWithin = time.Second
	mostFigures   = 2000 // characters of what is said of a run
)

// HeartbeatOptions is what Heartbeats work with. Every field is required.
type HeartbeatOptions struct {
	Client *http.Client // of a guard
	// URLs are the addresses to ping, by job. They are secrets.
	URLs map[exportops.Job]string
	// Scrub takes out of a text what must not be sent.
	Scrub func(string) string
	Log   *slog.Logger
}

// Heartbeats tell a service such as Healthchecks or Cronitor when a run of a job
// begins and how it ended. That service alerts when it hears nothing, which a process
// that died cannot do. A job waits for none of this and fails by none of it. They are
// safe for concurrent use.
type Heartbeats struct {
	o    HeartbeatOptions
	ctx  context.Context // of all pings
	stop context.CancelFunc

	mu     sync.Mutex
	closed bool
	begun  map[string]*ping // those that are on their way, by run
	all    sync.WaitGroup
}

// ping is one that is on its way.
type ping struct {
	stop context.CancelFunc
	done chan struct{}
}

// NewHeartbeats returns heartbeats. Close them.
func NewHeartbeats(o HeartbeatOptions) *Heartbeats {
	h := &Heartbeats{o: o, begun: map[string]*ping{}}
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h
}

// Began tells of a run that begins, or that this process took over.
func (h *Heartbeats) Began(run exportops.Run) {
	target, ok := h.o.URLs[run.Job]
	h.mu.Lock()
	defer h.mu.Unlock()
	if !ok || h.closed {
		return
	}
	ctx, cancel := context.WithCancel(h.ctx)
	p := &ping{cancel, make(chan struct{})}
	h.begun[run.ID] = p
	h.all.Go(func() {
		h.send(ctx, run, beat{target: target, run: run.ID, state: begins})
		cancel()
		close(p.done)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.begun[run.ID] == p {
			delete(h.begun, run.ID)
		}
	})
}

// Ended tells how a run ended, with its figures: done and partial are well, anything
// else is not.
func (h *Heartbeats) Ended(run exportops.Run, figures string) {
	target, ok := h.o.URLs[run.Job]
	h.mu.Lock()
	defer h.mu.Unlock()
	if !ok || h.closed {
		return
	}
	b := beat{target: target, run: run.ID, state: wentWell, said: h.summary(run, figures)}
	if run.State != exportops.RunDone && run.State != exportops.RunPartial {
		b.state = failed
	}
	before := h.begun[run.ID]
	h.all.Go(func() {
		before.giveWay()
		h.send(h.ctx, run, b)
	})
}

// giveWay waits until what was sent before has arrived, though not for long.
func (p *ping) giveWay() {
	if p == nil {
		return
	}
	select {
	case <-p.done:
	case <-time.After(giveWayWithin):
		p.stop()
		<-p.done
	}
}

// summary says in a few lines how a run ended.
func (h *Heartbeats) summary(run exportops.Run, figures string) string {
	lines := []string{"run " + run.ID + " of " + string(run.Job) + ": " + string(run.State)}
	if figures != "" {
		lines = append(lines, figures)
	}
	if run.Error != "" {
		lines = append(lines, h.o.Scrub(run.Error))
	}
	return cut(strings.Join(lines, "\n"), mostFigures)
}

// send sends a heartbeat, and logs it where that fails for good.
func (h *Heartbeats) send(ctx context.Context, run exportops.Run, b beat) {
	ctx, cancel := context.WithTimeout(ctx, beatWithin)
	defer cancel()
	var err error
	for n := range beatAttempts {
		if err = b.send(ctx, h.o.Client); err == nil {
			return
		}
		var answer *exportops.DeliveryError
		if errors.As(err, &answer) && answer.Final || n+1 == beatAttempts || !pause(ctx, beatPause<<n) {
			break
		}
	}
	h.o.Log.Warn("a heartbeat could not be sent", slog.String("job", string(run.Job)), slog.String("run", run.ID),
		slog.String("of", b.state.word()), slog.String("error", err.Error()))
}

// pause waits, and reports whether it was let.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Close waits until what was said has arrived, for 5 seconds at most. Nothing is told
// of afterwards.
func (h *Heartbeats) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	end := time.AfterFunc(beatWithin, h.stop)
	h.all.Wait()
	end.Stop()
	h.stop()
	return nil
}

// state is what a heartbeat says of a run.
type state int

const (
	begins state = iota
	wentWell
	failed
)

func (s state) word() string { return [...]string{"run", "complete", "fail"}[s] }

// beat is one heartbeat.
type beat struct {
	target string
	run    string
	state  state
	said   string
}

// send makes one attempt.
func (b beat) send(ctx context.Context, client *http.Client) error {
	u, err := url.Parse(b.target)
	if err != nil {
		return attempted(err)
	}
	method := http.MethodPost
	if isCronitor(u) {
		method = http.MethodGet
		b.asCronitor(u)
	} else {
		b.asHealthchecks(u)
	}
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(b.said)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return attempted(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	res, err := client.Do(req)
	if err != nil {
		return attempted(err)
	}
	return attempted(res.Body.Close())
}

// isCronitor tells whose form an address takes: that of Cronitor on its own host,
// that of Healthchecks everywhere else, where it can run on any.
func isCronitor(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	return host == "cronitor.link" || strings.HasSuffix(host, ".cronitor.link")
}

// asCronitor says it in the query.
func (b beat) asCronitor(u *url.URL) {
	q := u.Query()
	q.Set("state", b.state.word())
	q.Set("series", b.run)
	if b.said != "" {
		q.Set("message", b.said)
	}
	u.RawQuery = q.Encode()
}

// asHealthchecks says it in the path, the run in the query and the rest in the body.
func (b beat) asHealthchecks(u *url.URL) {
	switch b.state {
	case begins:
		*u = *u.JoinPath("start")
	case failed:
		*u = *u.JoinPath("fail")
	case wentWell:
	}
	q := u.Query()
	q.Set("rid", b.run)
	u.RawQuery = q.Encode()
}
