package main

import (
	"cmp"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
)

type holdCmd struct {
	Place   holdPlaceCmd   `cmd:"" help:"Place a legal hold: nothing that it is about is deleted until it is released."`
	Ls      holdLsCmd      `cmd:"" name:"ls" help:"List holds."`
	Release holdReleaseCmd `cmd:"" help:"Release a hold."`
}

type holdPlaceCmd struct {
	Export  string `name:"export" placeholder:"ID" help:"hold this export: its file, its row and its metric"`
	User    string `name:"user" placeholder:"ID" help:"hold all exports of this user, those to come included"`
	All     bool   `name:"all" help:"pause every deletion; what was claimed before comes to its end"`
	RowOnly bool   `name:"row-only" help:"with --export: hold its row although we have deleted its file"`
	Reason  string `name:"reason" placeholder:"TEXT" help:"why; required"`
	By      string `name:"by" placeholder:"NAME" help:"who places it (you)"`
}

// Run places a hold.
func (c *holdPlaceCmd) Run(e *env) error {
	h := exportops.Hold{Reason: c.Reason, PlacedBy: whoever(c.By), PlacedAt: exportops.At(time.Now()), RowOnly: c.RowOnly}
	given := 0
	for _, x := range []struct {
		is      bool
		scope   exportops.HoldScope
		subject string
	}{{c.Export != "", exportops.HoldExport, c.Export}, {c.User != "", exportops.HoldUser, c.User}, {c.All, exportops.HoldAll, ""}} {
		if x.is {
			given++
			h.Scope, h.Subject = x.scope, x.subject
		}
	}
	if given != 1 {
		return &usageError{exportops.Invalid("hold place", "give one of --export, --user and --all")}
	}
	h, err := h.Check()
	if err != nil {
		return &usageError{err}
	}
	cfg, err := e.config()
	if err != nil {
		return err
	}
	return e.withStore(func(s exportops.Database) error {
		if h, err = s.PlaceHold(e.ctx, h, app.Locator(cfg)); err != nil {
			return err
		}
		return e.show(h, func() {
			e.drawHolds([]exportops.Hold{h})
			if h.UnderWay > 0 {
				e.stdout.printf("%d files had been claimed before: their deletion may still come to its end\n", h.UnderWay)
			}
		})
	})
}

type holdLsCmd struct {
	All    bool   `name:"all" help:"released ones as well"`
	Limit  int    `name:"limit" default:"50" placeholder:"N" help:"at most so many, 1 to 500 (${default})"`
	Cursor string `name:"cursor" placeholder:"CURSOR" help:"go on where the page before ended"`
}

// Run lists holds, newest first.
func (c *holdLsCmd) Run(e *env) error {
	f := exportops.HoldFilter{All: c.All, Limit: c.Limit}
	if c.Limit < 1 || c.Limit > exportops.MaxPage {
		return &usageError{exportops.Invalid("--limit", "%d is not between 1 and %d", c.Limit, exportops.MaxPage)}
	}
	if err := f.Go(c.Cursor); err != nil {
		return &usageError{err}
	}
	return e.withStore(func(s exportops.Database) error {
		page, err := s.Holds(e.ctx, f)
		if err != nil {
			return err
		}
		if page == nil {
			page = []exportops.Hold{}
		}
		next := f.Next(page)
		answer := struct {
			Holds      []exportops.Hold `json:"holds"`
			NextCursor string           `json:"next_cursor"`
		}{page, next}
		return e.show(answer, func() {
			e.drawHolds(page)
			e.drawNext(next)
		})
	})
}

type holdReleaseCmd struct {
	ID int64  `arg:"" name:"hold-id" help:"the hold"`
	By string `name:"by" placeholder:"NAME" help:"who releases it (you)"`
}

// Run releases a hold.
func (c *holdReleaseCmd) Run(e *env) error {
	by := whoever(c.By)
	if err := exportops.CheckHoldName("--by", by); err != nil {
		return &usageError{err}
	}
	return e.withStore(func(s exportops.Database) error {
		h, err := s.ReleaseHold(e.ctx, c.ID, by, exportops.At(time.Now()))
		if err != nil {
			return err
		}
		return e.show(h, func() { e.drawHolds([]exportops.Hold{h}) })
	})
}

// whoever is who was named, or else the user of the machine; "" where that is not
// known.
func whoever(named string) string {
	if named != "" {
		return named
	}
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

func (e *env) drawHolds(page []exportops.Hold) {
	rows := make([][]string, len(page))
	for i, h := range page {
		state := "active"
		if !h.Active() {
			state = "released " + instant(h.ReleasedAt) + " by " + h.ReleasedBy
		}
		rows[i] = []string{
			strconv.FormatInt(h.ID, 10), string(h.Scope), cmp.Or(h.Subject, "everything"), instant(&h.PlacedAt),
			shorten(h.PlacedBy, 30), shorten(h.Reason, 50), state,
		}
	}
	e.table("holds", strings.Split("hold,scope,subject,placed,by,reason,state", ","), rows)
}
