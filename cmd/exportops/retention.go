package main

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
)

type retentionCmd struct {
	Explain retentionExplainCmd `cmd:"" help:"Say which rule of the retention policy an export falls under, and why."`
	Apply   retentionApplyCmd   `cmd:"" help:"Give exports that exist the expiry that the policy says, by a plan."`
	Rows    retentionRowsCmd    `cmd:"" help:"Count the export logs by rule, or list those that match none."`
}

type retentionExplainCmd struct {
	ID string `arg:"" name:"export-id" help:"the export"`
}

// explained is the answer of retention explain.
type explained struct {
	ExportID  string           `json:"export_id"`
	UserID    string           `json:"user_id"`
	Format    exportops.Format `json:"format"`
	Status    exportops.Status `json:"status"`
	FileSize  *int64           `json:"file_size"`
	Timestamp string           `json:"timestamp"`
	CreatedAt string           `json:"created_at"`
	Policy    string           `json:"policy"` // its hash, as in the parameters of runs; "" where there is none
	exportops.Explanation

	// ExpiresAt is what the row promises; nothing but a plan changes that.
	ExpiresAt *string `json:"expires_at"`
	// ByPolicy is what the policy would say, counted from created_at: the row does
	// not tell when the export was completed. Null for never, and while that is to come.
	ByPolicy *exportops.Time `json:"expires_at_by_policy"`
	// RowUntil is when the log row may go; null for never.
	RowUntil *exportops.Time `json:"log_row_until"`
}

// Run explains what is decided about one export.
func (c *retentionExplainCmd) Run(e *env) error {
	id, err := exportops.ParseID("export-id", c.ID)
	if err != nil {
		return &usageError{err}
	}
	cfg, err := e.config()
	if err != nil {
		return err
	}
	policy, err := policyOf(cfg)
	if err != nil {
		return err
	}
	return e.withStore(func(s exportops.Database) error {
		export, err := s.Export(e.ctx, id)
		if err != nil {
			return err
		}
		rows, err := s.CandidatesByID(e.ctx, []string{export.ExportID}) // as the row has it
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return &exportops.Error{Kind: exportops.KindNotFound, Field: "export-id", Message: "there is no such export"}
		}
		x := explain(policy, rows[0], exportops.At(time.Now()))
		x.Policy = cfg.Policy.Hash()
		return e.show(x, func() { e.drawExplained(x) })
	})
}

// policyOf is the policy that holds: that of the file, or the two retentions.
func policyOf(cfg config.Config) (*exportops.Policy, error) {
	if cfg.Policy != nil {
		return cfg.Policy, nil
	}
	return exportops.NewPolicy(exportops.KeepFor(cfg.FileRetention), exportops.KeepFor(cfg.LogRetention), nil)
}

func explain(p *exportops.Policy, c exportops.Candidate, now exportops.Time) explained {
	x := explained{
		ExportID: c.ExportID, UserID: c.UserID, Format: c.Format, Status: c.Status, FileSize: c.FileSize,
		Timestamp: c.Timestamp, CreatedAt: c.CreatedAt, ExpiresAt: c.ExpiresAt, Explanation: p.Explain(c, now),
	}
	after := func(r exportops.Retention, from string) *exportops.Time {
		t, ok := exportops.ParseStoredTime(from)
		if !ok {
			return nil
		}
		if t, ok = r.After(t); !ok {
			return nil
		}
		return &t
	}
	if !c.Status.InProgress() {
		x.ByPolicy = after(x.Files, c.CreatedAt)
	}
	x.RowUntil = after(x.Logs, c.Timestamp)
	return x
}

func (e *env) drawExplained(x explained) {
	promised := "never"
	if x.ExpiresAt != nil {
		promised = *x.ExpiresAt
	}
	policy := "none; the settings' retentions hold"
	if x.Policy != "" {
		policy = x.Policy
	}
	until := func(t *exportops.Time, r exportops.Retention) string {
		if t == nil {
			return r.String()
		}
		return fmt.Sprintf("%s (%s)", instant(t), r)
	}
	e.table("export "+x.ExportID, nil, [][]string{
		{"user", x.UserID},
		{"format", string(x.Format)},
		{"status", string(x.Status)},
		{"size", size(x.FileSize)},
		{"asked", x.Timestamp},
		{"policy", policy},
		{"rule", x.Rule},
		{"file expires, as promised", promised},
		{"file would expire, by the policy", until(x.ByPolicy, x.Files)},
		{"log row may go", until(x.RowUntil, x.Logs)},
	})
	var rows [][]string
	for _, look := range x.Looks {
		for i, c := range look.Conditions {
			name, mark := look.Rule, "no"
			if i > 0 {
				name = ""
			}
			if c.Holds {
				mark = "yes"
			}
			rows = append(rows, []string{name, c.Field, c.Wants, c.Has, mark})
		}
	}
	if len(rows) > 0 {
		e.table("rules, in order", []string{"rule", "condition", "wants", "has", "met"}, rows)
	}
	if x.Rule == exportops.DefaultRule {
		e.stdout.printf("no rule matches: the default holds\n")
	} else {
		e.stdout.printf("%q is the first rule that matches\n", x.Rule)
	}
}

type retentionRowsCmd struct {
	Unmatched bool   `name:"unmatched" help:"list the rows that match no rule, to which the default applies"`
	Limit     int    `name:"limit" default:"50" placeholder:"N" help:"with --unmatched: at most so many, 1 to 500 (${default})"`
	Cursor    string `name:"cursor" placeholder:"CURSOR" help:"with --unmatched: go on where the page before ended"`
}

// Run goes through the whole table, a page at a time.
func (c *retentionRowsCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	from, cursorErr := base64.RawURLEncoding.DecodeString(c.Cursor)
	switch {
	case cfg.Policy == nil:
		return &usageError{errNoPolicy}
	case c.Limit < 1 || c.Limit > exportops.MaxPage:
		return &usageError{exportops.Invalid("--limit", "%d is not between 1 and %d", c.Limit, exportops.MaxPage)}
	case cursorErr != nil:
		return &usageError{exportops.Invalid("--cursor", "it is not a cursor that a page before ended with")}
	}
	return e.withStore(func(s exportops.Database) error {
		if c.Unmatched {
			return c.list(e, s, cfg.Policy, exportops.Cursor(from))
		}
		return countByRule(e, s, cfg.Policy)
	})
}

// ruleCount is how many rows fall under a rule.
type ruleCount struct {
	Rule string `json:"rule"`
	Rows int64  `json:"rows"`
}

func countByRule(e *env, s exportops.Database, p *exportops.Policy) error {
	now := exportops.At(time.Now())
	counts := map[string]int64{}
	err := eachRow(e, s, "", func(row exportops.Candidate) bool {
		counts[p.Choose(row, now).Rule]++
		return true
	})
	if err != nil {
		return err
	}
	answer := struct {
		Policy string      `json:"policy"`
		Rules  []ruleCount `json:"rules"`
	}{Policy: p.Hash()}
	var rows [][]string
	for _, name := range p.Names() {
		answer.Rules = append(answer.Rules, ruleCount{name, counts[name]})
		rows = append(rows, []string{name, number(counts[name])})
	}
	return e.show(answer, func() { e.table("export logs by rule", []string{"rule", "rows"}, rows) })
}

// unmatchedRow is a row that no rule matches.
type unmatchedRow struct {
	ExportID  string           `json:"export_id"`
	UserID    string           `json:"user_id"`
	Timestamp string           `json:"timestamp"`
	Format    exportops.Format `json:"format"`
	Status    exportops.Status `json:"status"`
	FileSize  *int64           `json:"file_size"`
	ExpiresAt *string          `json:"expires_at"`
}

func (c *retentionRowsCmd) list(e *env, s exportops.Database, p *exportops.Policy, from exportops.Cursor) error {
	now := exportops.At(time.Now())
	answer := struct {
		Rows       []unmatchedRow `json:"rows"`
		NextCursor string         `json:"next_cursor"`
	}{Rows: []unmatchedRow{}}
	var last exportops.Cursor
	err := eachRow(e, s, from, func(row exportops.Candidate) bool {
		if !p.Choose(row, now).Default {
			return true
		}
		if len(answer.Rows) == c.Limit {
			answer.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(last))
			return false
		}
		last = row.Cursor
		answer.Rows = append(answer.Rows, unmatchedRow{row.ExportID, row.UserID, row.Timestamp, row.Format, row.Status, row.FileSize, row.ExpiresAt})
		return true
	})
	if err != nil {
		return err
	}
	return e.show(answer, func() {
		rows := make([][]string, len(answer.Rows))
		for i, r := range answer.Rows {
			expires := "never"
			if r.ExpiresAt != nil {
				expires = *r.ExpiresAt
			}
			rows[i] = []string{r.ExportID, r.UserID, r.Timestamp, string(r.Format), string(r.Status), size(r.FileSize), expires}
		}
		e.table("export logs that match no rule", strings.Split("export,user,asked,format,status,size,expires", ","), rows)
		e.drawNext(answer.NextCursor)
	})
}

// eachRow hands on every row after a cursor until fn returns false.
func eachRow(e *env, s exportops.Database, from exportops.Cursor, fn func(exportops.Candidate) bool) error {
	const page = 1000
	for {
		rows, next, err := s.Candidates(e.ctx, exportops.Selection{Mode: exportops.ByPolicy}, from, page)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if !fn(row) {
				return nil
			}
		}
		if from = next; next == "" {
			return nil
		}
	}
}
