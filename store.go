package exportops

import "context"

// Store is what keeps everything but the files.
type Store interface {
	ExportStore
	MetricStore
	OutcomeStore
	RollupStore
	DeletionStore
	LogStore
	ArchiveStore
	HoldStore
	ReconcileStore
	RunStore
	ErasureStore
	GuardStore
	ExpiryStore
	AlertStore
	NotificationStore
}

// Database is an open database. Migrate or Ready comes before anything else.
type Database interface {
	Store
	// Name names the database for a person, without its password.
	Name() string
	// Migrate brings our tables to this version's schema. It may run in several
	// processes at once.
	Migrate(ctx context.Context) error
	// SchemaVersion returns the version of the schema in the database, 0 without
	// our tables, and the one this program wants.
	SchemaVersion(ctx context.Context) (have, want int64, err error)
	// Ready reports whether the database can be worked with: our tables, and
	// export logs with every column. The error is KindUnavailable and says what to
	// do.
	Ready(ctx context.Context) error
	// Rehearse calls fn with a store that sees this database and may change it, in
	// one transaction that is always rolled back: nobody else sees what fn did, and
	// nothing of it stays, even when the process dies. Writers may have to wait, so
	// fn must be brief; it must not use the database itself.
	Rehearse(ctx context.Context, fn func(Store) error) error
	// Diagnose looks at the whole table of export logs once. Overdue is what
	// expired before then and is not held.
	Diagnose(ctx context.Context, then Time) (Diagnosis, error)
	// Close closes the database. No operation may be under way.
	Close() error
}

// Diagnosis is what an operator should know about the database.
type Diagnosis struct {
	Clock  Time  // what the database takes for now
	Newest *Time // the latest time that a run or an export begins with; nil when there is none

	Rows        int64 // of the export logs
	Unexpiring  int64 // completed exports without an expiry: their files stay for good
	Unreadable  int64 // completed exports whose expiry is no time as we write it: likewise
	Implausible int64 // completed exports that expire before they were created
	Overdue     int64 // completed exports that expired before the time given and that no hold covers
	Quarantined int64 // files given up on after five failed runs

	// MissingIndexes holds a statement for each index that the table should have.
	MissingIndexes []string
}
