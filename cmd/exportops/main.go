// Command exportops looks after exports once they are made: it measures them,
// deletes their files when they expire and their log rows when they are old
// enough, and can show that it did.
//
// Exit status: 0 done, 1 something failed or was interrupted, 2 wrong usage or
// settings, 3 refused by a guard.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
)

// version is set when the program is built.
var version = ""

type cli struct {
	config.Settings `embed:""`

	Config string `name:"config" env:"EXPORTOPS_CONFIG" placeholder:"FILE" help:"settings file (exportops.yaml, where there is one)"`
	Output string `name:"output" short:"o" enum:"auto,json,table" default:"auto" placeholder:"auto|json|table" help:"how answers are shown: auto is table on a terminal, else json"`

	Demo      demoCmd      `cmd:"" help:"Show it all: an application that exports, the three jobs, and what they did."`
	Serve     serveCmd     `cmd:"" help:"Run the server: the API, the cron endpoints and the schedule."`
	Run       runCmd       `cmd:"" help:"Run a job now."`
	Metrics   metricsCmd   `cmd:"" help:"Show the metrics of an interval."`
	Volume    volumeCmd    `cmd:"" help:"Show how many exports there were, period by period."`
	Exports   exportsCmd   `cmd:"" help:"List exports, or show one."`
	Runs      runsCmd      `cmd:"" help:"List runs of jobs, or show one."`
	Hold      holdCmd      `cmd:"" help:"Place, list and release legal holds."`
	Archive   archiveCmd   `cmd:"" help:"List, verify, search and restore archives of log rows."`
	EraseUser eraseUserCmd `cmd:"" name:"erase-user" help:"Erase a user: files, log rows, metrics and every other trace."`
	Erasures  erasuresCmd  `cmd:"" help:"List the receipts of erasures."`
	Deletions deletionsCmd `cmd:"" help:"Show the ledger: what was deleted, when, why and by which run."`
	Alerts    alertsCmd    `cmd:"" help:"List alerts, acknowledge and silence them."`
	Slo       sloCmd       `cmd:"" name:"slo" help:"Show how the objectives are kept, and what is left of their budgets."`
	Notify    notifyCmd    `cmd:"" help:"Show channels and what they are told, test them, and send what is due."`
	Retention retentionCmd `cmd:"" help:"Show what the retention policy says about exports."`
	Reconcile reconcileCmd `cmd:"" help:"Compare the files in storage with the rows that name them."`
	Import    importCmd    `cmd:"" help:"Read export logs or export_metric events from a file."`
	Migrate   migrateCmd   `cmd:"" help:"Create the database, or bring it up to date."`
	Doctor    doctorCmd    `cmd:"" help:"Look for what is wrong, and say what to do."`
	Selftest  selftestCmd  `cmd:"" help:"Test this installation, leaving nothing behind."`
	Check     checkCmd     `cmd:"" help:"Test the cron endpoints of a running server."`
	Version   versionCmd   `cmd:"" help:"Show the version."`
}

func main() {
	// The collector takes a hundredth of a job's time: its heap may grow by half of what
	// is alive, not by all of it.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command and returns the exit status.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr *os.File) int {
	var c cli
	e := &env{ctx: ctx, stdin: stdin, stdout: &printer{file: stdout}, stderr: &printer{file: stderr}}
	parser, err := kong.New(&c,
		kong.Name("exportops"),
		kong.Description("Looks after exports: measures them, deletes their files when they expire, keeps their log as long as promised."),
		kong.Writers(stdout, stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, FlagsLast: true}),
		kong.ExplicitGroups([]kong.Group{{Key: "settings", Title: "Settings:"}, {Key: "secrets", Title: "Secrets (better in the environment: flags show in lists of processes):"}}),
		kong.WithBeforeResolve(func(k *kong.Context) error { return e.readFile(k) }),
		kong.Bind(e),
	)
	if err != nil {
		panic(err) // the structs above are wrong
	}
	k, err := parser.Parse(args)
	if err != nil {
		report(e.stderr, &usageError{err})
		return 2
	}
	e.settings, e.output = c.Settings, c.Output
	err = k.Run()
	if err == nil && e.stdout.err != nil {
		err = fmt.Errorf("write the answer: %w", e.stdout.err)
	}
	if err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		if !errors.Is(err, errSaid) {
			report(e.stderr, err)
		}
		return exitCode(err)
	}
	return 0
}

// errSaid ends a command with status 1 after its output said why.
var errSaid = errors.New("something failed")

func exitCode(err error) int {
	var usage *usageError
	switch {
	case errors.As(err, &usage) || exportops.IsKind(err, exportops.KindInvalid):
		return 2
	case exportops.IsKind(err, exportops.KindRefused):
		return 3
	}
	return 1
}
