// Package httpapi is the HTTP door: the cron endpoints, the API under /api/v1,
// health checks, and their description in OpenAPI 3.1 with a page to read it.
//
// A request walks through it in one direction: identify and recover
// (request.go), authenticate (auth.go), check parameters (params.go), decode
// the body (body.go, object.go), call the domain, and answer. Every answer
// that is no success is an RFC 9457 problem (problem.go), except where the
// cron endpoints promise a body of their own (jobs.go).
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// Metrics records and sums up metrics. Reading emits no event.
type Metrics interface {
	// Record returns when the batch is durable, and answers for each metric in
	// order.
	Record(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error)
	Aggregate(ctx context.Context, start, end exportops.Time, p exportops.Period) (exportops.Summary, error)
	// FailureRate is nil when nothing finished in the last lookbackMinutes.
	FailureRate(ctx context.Context, lookbackMinutes int) (*exportops.FailureRate, error)
	Volume(ctx context.Context, p exportops.Period, days int) (exportops.Volume, error)
}

// Runs reads the runs of jobs; exportops.RunStore satisfies it.
type Runs interface {
	Run(ctx context.Context, id string) (exportops.Run, error)
	Runs(ctx context.Context, f exportops.RunFilter) ([]exportops.Run, string, error)
	CancelRun(ctx context.Context, id, by string, now exportops.Time) (exportops.Run, error)
}

// Logs counts old log rows; exportops.LogStore satisfies it.
type Logs interface {
	LogStatistics(ctx context.Context, cut exportops.Time) (exportops.LogStatistics, error)
}

// Erasures reads receipts; exportops.ErasureStore satisfies it.
type Erasures interface {
	Erasures(ctx context.Context, cursor string, limit int) ([]exportops.Erasure, string, error)
}

// Deletions is the deletion ledger; exportops.DeletionStore satisfies it.
type Deletions interface {
	exportops.DeletionReader
	exportops.DeletionRetrier
}

// Jobs runs jobs.
type Jobs interface {
	Run(ctx context.Context, r jobs.Request) (jobs.Answer, error)
}

// DefaultBudget is how long a job may work within one request.
const DefaultBudget = 50 * time.Second

// Options is what the API is made of. What is above Keeper is required, and so is Ready.
type Options struct {
	Metrics  Metrics
	Exports  exportops.ExportStore
	Runs     Runs
	Logs     Logs
	Erasures Erasures
	Jobs     Jobs
	Holds    Holds
	// Deletions is the ledger.
	Deletions Deletions
	// Reconciled is what reconciliations found, in the storage that FilesID names.
	Reconciled Reconciled
	FilesID    string
	Report     exportops.ReportReader
	Archives   Archives
	Alerts     Alerts
	Watch      Watch
	// Notifications is what channels are told.
	Notifications exportops.NotificationRetrier
	// Keeper reads archives back; nil where there is no place for any.
	Keeper Keeper
	// Rules are the alert rules that hold.
	Rules []exportops.AlertRule
	// Ready reports what keeps the server from working, as exportops.Error whose
	// messages are shown to anybody.
	Ready func(context.Context) error

	// Locator says which files are ours: an export that names another is refused.
	Locator exportops.Locator

	Secrets Secrets
	// Dev leaves /api/v1 open to requests that name a loopback host. The cron
	// endpoints ask for their secret all the same.
	Dev bool

	Budget        time.Duration     // 0 means DefaultBudget
	FileRetention time.Duration     // 0 means exportops.DefaultFileRetention
	LogRetention  time.Duration     // 0 means exportops.DefaultLogRetention
	Policy        *exportops.Policy // takes the place of both; nil for none
	Clock         func() time.Time  // nil means time.Now
	Version       string            // shown in the description; "" means "dev"
	Logger        *slog.Logger      // nil means slog.Default
	// Answered is told of each request that was answered, by the pattern of its
	// route, "" where there is none; nil tells nobody.
	Answered func(ctx context.Context, method, route string, status int, took time.Duration)
	// Base ends when the server stops. Jobs go on when their caller hangs up,
	// and stop with Base; nil never ends.
	Base context.Context //nolint:containedctx // the life of the server, as in http.Server.BaseContext
}

// server answers requests. It does not change after New.
type server struct {
	Options
	mux    *http.ServeMux
	api    huma.API
	tokens tokens
}

// New returns the handler of every route. It is KindInvalid when the options
// have no cron secret, and panics when one of the required fields is missing.
func New(o Options) (http.Handler, error) {
	if o.Metrics == nil || o.Exports == nil || o.Runs == nil || o.Logs == nil || o.Holds == nil || o.Jobs == nil || o.Deletions == nil ||
		o.Erasures == nil || o.Reconciled == nil || o.Report == nil || o.Archives == nil || o.Ready == nil ||
		o.Alerts == nil || o.Watch == nil || o.Notifications == nil {
		panic("httpapi: a required option is missing")
	}
	if o.Secrets.Cron.Current == "" {
		return nil, exportops.Invalid("CRON_SECRET", "missing: the cron endpoints cannot be served without it")
	}
	o.fillDefaults()
	s := &server{Options: o, mux: http.NewServeMux(), tokens: newTokens(o.Secrets)}
	s.api = humago.New(s.mux, s.apiConfig())
	s.api.UseMiddleware(s.translate, s.authenticate, s.checkQuery)
	s.routes()
	if err := s.serveDescription(); err != nil {
		return nil, err
	}
	s.mux.HandleFunc("/", s.notFound)
	return s, nil
}

func (o *Options) fillDefaults() {
	if o.Budget == 0 {
		o.Budget = DefaultBudget
	}
	if o.FileRetention == 0 {
		o.FileRetention = exportops.DefaultFileRetention
	}
	if o.LogRetention == 0 {
		o.LogRetention = exportops.DefaultLogRetention
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Base == nil {
		o.Base = context.Background()
	}
}

func (s *server) routes() {
	s.cronRoutes()
	s.exportRoutes()
	s.metricRoutes()
	s.summaryRoutes()
	s.runRoutes()
	s.deletionRoutes()
	s.userRoutes()
	s.holdRoutes()
	s.reconcileRoutes()
	s.planRoutes()
	s.reportRoutes()
	s.archiveRoutes()
	s.alertRoutes()
	s.notificationRoutes()
	s.healthRoutes()
}

func (s *server) now() exportops.Time { return exportops.At(s.Clock()) }

// handle registers one operation; see huma.Register for what I and O may hold.
func handle[I, O any](s *server, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	op.SkipValidateBody = true // bodies are decoded here, see body.go
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return out, nil
	})
}
