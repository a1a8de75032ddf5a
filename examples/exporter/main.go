// Command exporter serves exports of conversations and reports them to an
// exportops server. See README.md beside it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/exportops/exportops/client"
	"github.com/exportops/exportops/examples/exporter/exporter"
	"github.com/exportops/exportops/recorder"
)

var (
	_ exporter.Ops  = (*client.Client)(nil)
	_ exporter.Rows = (*client.Client)(nil)
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stderr, nil)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "exporter:", err)
		os.Exit(1)
	}
}

// stopTime bounds the end: requests under way first, then queued metrics.
const stopTime = 10 * time.Second

// run serves until ctx ends. The address it listens on is handed to listening,
// which may be nil.
func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer, listening func(net.Addr)) error {
	flags := flag.NewFlagSet("exporter", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:3000", "listen address")
	dir := flags.String("dir", "exports", "folder of the files; it must exist")
	data := flags.String("data", "", "data set in JSON Lines (the one that is built in)")
	ops := flags.String("ops", "http://127.0.0.1:8080", "address of the exportops server")
	lifetime := flags.Duration("lifetime", 24*time.Hour, "how long a file may be downloaded")
	if err := flags.Parse(args); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))

	queue := recorder.Options{
		OnLoss: func(loss *recorder.LossError) { log.Warn("metrics are lost", "error", loss) },
	}
	// Clients live until Close, not until ctx ends: what is queued is sent then.
	reports, err := client.New(*ops, getenv("EXPORTOPS_INGEST_TOKEN"), client.WithRecorder(queue)) //nolint:contextcheck // see above
	if err != nil {
		return err
	}
	rows, err := client.New(*ops, getenv("EXPORTOPS_READ_TOKEN")) //nolint:contextcheck // see above
	if err != nil {
		return errors.Join(err, reports.Close(ctx))
	}
	cfg := exporter.Config{Dir: *dir, Ops: reports, Rows: rows, Lifetime: *lifetime, Log: log}
	if *data != "" {
		cfg.Source = exporter.File(*data)
	}
	err = serve(ctx, *addr, exporter.New(cfg), log, listening)

	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	return errors.Join(err, reports.Close(end), rows.Close(end))
}

func serve(ctx context.Context, addr string, x *exporter.Exporter, log *slog.Logger, listening func(net.Addr)) error {
	if err := x.Check(); err != nil {
		return err
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler:           x.Handler(),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
	}
	log.Info("serving exports", "addr", l.Addr().String())
	if listening != nil {
		listening(l.Addr())
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	return srv.Shutdown(end)
}
