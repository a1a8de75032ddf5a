package main

import (
	"errors"
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
)

type archiveLostCmd struct {
	IDs    []int64 `arg:"" name:"archive-id" help:"the archives, as archive ls and archive verify number them"`
	Reason string  `name:"reason" placeholder:"TEXT" help:"why; required"`
	By     string  `name:"by" placeholder:"NAME" help:"who says so (you)"`
	Unseen bool    `name:"unseen" help:"without looking for the object: it lay in a storage that is no more"`
}

// Help says more of it.
func (archiveLostCmd) Help() string {
	return `An archive whose object is gone fails every search that may need it, and every erasure:
nobody could say who was in it. This records that it is gone for good, and by whose
word: its rows are found no more, and erasures go on. It is refused where the object is
there. Where it comes back later, archive register makes an archive of it again.`
}

// Run records that archives are lost.
func (c *archiveLostCmd) Run(e *env) error {
	reason, by := strings.TrimSpace(c.Reason), whoever(c.By)
	err := errors.Join(exportops.CheckText("--reason", reason, "why it is lost", exportops.MaxHoldReason), exportops.CheckHoldName("--by", by))
	if err != nil {
		return &usageError{err}
	}
	return e.withArchives(func(k *archive.Keeper) error {
		lost := []exportops.Archive{}
		for _, id := range c.IDs {
			a, err := k.Lose(e.ctx, id, reason, by, c.Unseen, exportops.At(time.Now()))
			if err != nil {
				e.stderr.printf("%d archives were recorded as lost before this\n", len(lost))
				return err
			}
			lost = append(lost, a)
		}
		answer := struct {
			Archives []exportops.Archive `json:"archives"`
		}{lost}
		return e.show(answer, func() {
			rows := make([][]string, len(lost))
			for i, a := range lost {
				rows[i] = []string{number(a.ID), string(a.State), a.Key, number(a.Rows), a.Error}
			}
			e.table("archives without an object", strings.Split("id,state,key,rows,why", ","), rows)
		})
	})
}
