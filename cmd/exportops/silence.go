package main

import (
	"cmp"
	"strings"
	"time"

	"github.com/exportops/exportops"
)

type silenceCmd struct {
	Place silencePlaceCmd `cmd:"" help:"Keep incidents of a rule, or of all, from being told of for a while."`
	Ls    silenceLsCmd    `cmd:"" name:"ls" help:"List the silences that are not over."`
	End   silenceEndCmd   `cmd:"" help:"End a silence before its time."`
}

type silencePlaceCmd struct {
	Rule    string        `name:"rule" placeholder:"NAME" help:"of this rule alone"`
	Subject string        `name:"subject" placeholder:"NAME" help:"of this subject alone, such as a job"`
	For     time.Duration `name:"for" required:"" placeholder:"DURATION" help:"how long, such as 2h; at most 2160h"`
	Reason  string        `name:"reason" required:"" placeholder:"TEXT" help:"why"`
	By      string        `name:"by" placeholder:"NAME" help:"who places it (you)"`
}

// Run places a silence.
func (c *silencePlaceCmd) Run(e *env) error {
	now := exportops.At(time.Now())
	q, err := exportops.Silence{
		Rule: c.Rule, Subject: c.Subject, Until: exportops.At(now.Add(c.For)), Reason: c.Reason,
		PlacedBy: cmp.Or(whoever(c.By), "somebody"), PlacedAt: now,
	}.Check()
	if err != nil {
		return &usageError{err}
	}
	return e.withStore(func(s exportops.Database) error {
		if q, err = s.PlaceSilence(e.ctx, q); err != nil {
			return err
		}
		return e.show(q, func() { e.drawSilences([]exportops.Silence{q}) })
	})
}

type silenceLsCmd struct{}

// Run lists silences.
func (c *silenceLsCmd) Run(e *env) error {
	return e.withStore(func(s exportops.Database) error {
		all, err := s.Silences(e.ctx, exportops.At(time.Now()))
		if err != nil {
			return err
		}
		if all == nil {
			all = []exportops.Silence{}
		}
		answer := struct {
			Silences []exportops.Silence `json:"silences"`
		}{all}
		return e.show(answer, func() { e.drawSilences(all) })
	})
}

type silenceEndCmd struct {
	ID int64  `arg:"" name:"silence-id" help:"the silence"`
	By string `name:"by" placeholder:"NAME" help:"who ends it (you)"`
}

// Run ends a silence.
func (c *silenceEndCmd) Run(e *env) error {
	return e.withStore(func(s exportops.Database) error {
		q, err := s.EndSilence(e.ctx, c.ID, cmp.Or(whoever(c.By), "somebody"), exportops.At(time.Now()))
		if err != nil {
			return err
		}
		return e.show(q, func() { e.drawSilences([]exportops.Silence{q}) })
	})
}

func (e *env) drawSilences(all []exportops.Silence) {
	rows := make([][]string, len(all))
	for n, q := range all {
		end := instant(&q.Until)
		if q.EndedAt != nil {
			end = instant(q.EndedAt) + " by " + q.EndedBy
		}
		rows[n] = []string{
			number(q.ID), cmp.Or(q.Rule, "every rule"), cmp.Or(q.Subject, "–"), instant(&q.PlacedAt), end, shorten(q.PlacedBy, 30), shorten(q.Reason, 50),
		}
	}
	e.table("silences", strings.Split("silence,rule,subject,placed,until,by,reason", ","), rows)
}
