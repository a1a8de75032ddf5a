package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
)

type archiveQuery struct {
	User   string `name:"user" placeholder:"ID" help:"of this user"`
	Export string `name:"export" placeholder:"ID" help:"of this export"`
	Format string `name:"format" placeholder:"FORMAT" help:"json, jsonl, csv or markdown"`
	From   string `name:"from" placeholder:"TIME" help:"asked for at this instant or later"`
	To     string `name:"to" placeholder:"TIME" help:"asked for before this instant"`
}

func (c *archiveQuery) query() (q archive.Query, err error) {
	for _, x := range []struct {
		flag, text string
		into       *string
	}{{"--user", c.User, &q.UserID}, {"--export", c.Export, &q.ExportID}} {
		if x.text != "" {
			if *x.into, err = exportops.ParseID(x.flag, x.text); err != nil {
				return q, &usageError{err}
			}
		}
	}
	for _, x := range []struct {
		flag, text string
		into       *exportops.Time
	}{{"--from", c.From, &q.From}, {"--to", c.To, &q.To}} {
		if x.text != "" {
			if *x.into, err = exportops.ParseTime(x.text); err != nil {
				return q, &usageError{exportops.Invalid(x.flag, "%v", err)}
			}
		}
	}
	if q.Format = exportops.Format(c.Format); c.Format != "" {
		known := false
		for _, f := range exportops.Formats {
			known = known || f == q.Format
		}
		if !known {
			return q, &usageError{exportops.Invalid("--format", "%q is not one of json, jsonl, csv, markdown", c.Format)}
		}
	}
	return q, nil
}

type archiveSearchCmd struct {
	archiveQuery
}

// searchTable is how many rows a table shows: more are for a program to read.
const searchTable = 1000

// Run writes archived rows, one JSON object a line, or the first of them in a table.
func (c *archiveSearchCmd) Run(e *env) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	return e.withArchives(func(k *archive.Keeper) error {
		if e.asJSON() {
			return e.eachLine(k, q)
		}
		var rows [][]string
		for found, err := range k.Search(e.ctx, q) {
			if err != nil {
				return err
			}
			if len(rows) == searchTable {
				e.stdout.printf("the first %d rows; --output json shows all\n", searchTable)
				break
			}
			failure := ""
			if found.ErrorMessage != nil {
				failure = shorten(*found.ErrorMessage, 40)
			}
			rows = append(rows, []string{
				found.ExportID, found.UserID, found.Timestamp, found.Format, found.Status, number(found.ConversationCount),
				size(found.FileSize), failure,
			})
		}
		e.table("archived rows", strings.Split("export,user,asked,format,status,conversations,size,error", ","), rows)
		return nil
	})
}

// eachLine writes rows as they are found.
func (e *env) eachLine(k *archive.Keeper, q archive.Query) error {
	out := json.NewEncoder(e.stdout)
	out.SetEscapeHTML(false)
	for found, err := range k.Search(e.ctx, q) {
		if err != nil {
			return err
		}
		if err := out.Encode(found); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	return nil
}
