package main

import (
	"errors"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/cleanup"
	"github.com/exportops/exportops/config"
)

// archive shows that archives can be written, read back, and not overwritten. It returns
// the name of their storage, "" where that is not to be had.
func (d *doctor) archive(cfg config.Config) string {
	const check = "archive"
	if cfg.Archive == nil {
		return ""
	}
	objects, err := app.OpenArchive(d.env.ctx, cfg)
	if err != nil {
		d.wrong(check, err)
		return ""
	}
	if err := errors.Join(objects.ProbeCreate(d.env.ctx), objects.Close()); err != nil {
		d.wrong(check, err)
		return ""
	}
	d.say(check, fine, "", "an object was written to %s once, not over itself, and deleted", cfg.Archive.Name())
	return objects.ID()
}

// outOfReach tells of archives that nobody could be erased from: they lie in another
// storage than at, where that is known, or none is configured.
func (d *doctor) outOfReach(cfg config.Config, at string, store exportops.Database) {
	const check = "archives out of reach"
	if cfg.Archive == nil {
		if err := cleanup.RefuseArchives(d.env.ctx, store); err != nil {
			d.wrong(check, err)
		}
		return
	}
	if at == "" {
		return
	}
	n, in := 0, ""
	err := cleanup.EachArchive(d.env.ctx, store, func(a exportops.Archive) bool {
		if !a.State.Gone() && a.Store != at {
			n, in = n+1, a.Store
		}
		return true
	})
	if err != nil {
		d.wrong(check, err)
		return
	}
	if n > 0 {
		d.say(check, wrong, "copy them with their manifests to the storage that is configured, and run exportops archive register; "+
			"what is gone for good: exportops archive lost", "%d archives lie elsewhere, as in %s: nobody can be erased, nor what is in them found", n, in)
	}
}
