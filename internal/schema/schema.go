// Package schema reads the steps that bring a database to this version's schema
// from a folder of files, in the form of github.com/pressly/goose, whose command
// can show and undo them. Our stores apply them: goose itself keeps 4 MB buffers
// for each file it parses, in a program that is to live in 50 MB.
package schema

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Step is one file.
type Step struct {
	Version int64
	Name    string
	Up      string // its statements
}

// Read returns the files NNN_name.sql of a folder in their order, the last one
// the newest.
func Read(files fs.FS, folder string) ([]Step, error) {
	names, err := fs.Glob(files, folder+"/*.sql")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("there are no migrations in %s", folder)
	}
	steps := make([]Step, 0, len(names))
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		number, _, _ := strings.Cut(strings.TrimPrefix(name, folder+"/"), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		_, up, found := strings.Cut(string(text), "-- +goose Up")
		if err != nil || !found {
			return nil, fmt.Errorf("%s is no migration", name)
		}
		up, _, _ = strings.Cut(up, "-- +goose Down")
		steps = append(steps, Step{version, name, up})
	}
	return steps, nil
}

// Newest returns the version that the last step leads to.
func Newest(steps []Step) int64 { return steps[len(steps)-1].Version }
