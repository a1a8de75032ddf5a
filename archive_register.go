package exportops

// RegisterArchives is the job that records archives which lie in their storage and
// are unknown to the database; on request only.
const RegisterArchives Job = "archive-register"

// RegisterResult is what a registration of archives found and did.
type RegisterResult struct {
	Found       int64 `json:"found"`        // archives in storage that no record knows
	Registered  int64 `json:"registered"`   // of them, with all that is known of others
	Rows        int64 `json:"rows"`         // in those that were registered, or would be
	RowsPresent int64 `json:"rows_present"` // of them, in the export logs again
	LeftTotal   int64 `json:"left_total"`
	// Left are those that cannot be registered, the first 100 of them.
	Left []LeftArchive `json:"left"`

	Complete   bool   `json:"complete"`
	DryRun     bool   `json:"dry_run,omitempty"`
	RunID      string `json:"run_id,omitempty"`
	DurationMS int64  `json:"duration_ms"`
	Timestamp  Time   `json:"timestamp"`
}

// LeftArchive is an object that was not registered.
type LeftArchive struct {
	Key string `json:"key"`
	Why string `json:"why"`
}

// Leave counts an object that cannot be registered.
func (r *RegisterResult) Leave(key, why string) {
	if r.LeftTotal++; len(r.Left) < MaxErrors {
		r.Left = append(r.Left, LeftArchive{key, why})
	}
}

// Fill puts an empty list in place of none.
func (r *RegisterResult) Fill() {
	if r.Left == nil {
		r.Left = []LeftArchive{}
	}
}

// Resume keeps what is done for good, for the next holder of the run.
func (r *RegisterResult) Resume() {
	*r = RegisterResult{Found: r.Registered, Registered: r.Registered, Rows: r.Rows, RowsPresent: r.RowsPresent}
}
