package testworld

import (
	"bytes"
	"io"
	"path/filepath"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
	"github.com/exportops/exportops/jobs"
)

// Objects returns the place of the world's archives.
func (w *World) Objects() *Objects { return &Objects{Folder: filepath.Join(w.Dir, "archive")} }

// Archiving makes a runner archive log rows to a place.
func (w *World) Archiving(to *Objects) func(*jobs.Options) {
	return func(o *jobs.Options) {
		o.Archives = &archive.Keeper{Store: o.Store, Objects: to, Dir: w.Dir, Program: "exportops test"}
	}
}

// Archives returns the records of all archives, oldest first.
func (w *World) Archives() []exportops.Archive {
	w.Helper()
	page, err := w.Store.Archives(w.Context(), exportops.ArchiveFilter{Limit: exportops.MaxPage})
	w.Must(err)
	all := make([]exportops.Archive, len(page))
	for i, a := range page {
		all[len(page)-1-i] = a
	}
	return all
}

// Archived reads the rows of all archives that are done, by their ids, with how often
// each is there.
func (w *World) Archived(in *Objects) (rows map[string]exportops.ArchivedRow, times map[string]int) {
	w.Helper()
	rows, times = map[string]exportops.ArchivedRow{}, map[string]int{}
	for _, a := range w.Archives() {
		if a.State != exportops.ArchiveDone {
			continue
		}
		body, err := in.Open(w.Context(), a.Key)
		w.Must(err)
		all, err := io.ReadAll(body)
		w.Must(err)
		r, err := archive.Open(bytes.NewReader(all), int64(len(all)))
		w.Must(err)
		for row, err := range r.Rows() {
			w.Must(err)
			rows[row.ID] = *row
			times[row.ID]++
		}
	}
	return rows, times
}
