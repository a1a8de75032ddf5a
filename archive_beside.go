package exportops

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// FoundRow is an archived row, and where it lies.
type FoundRow struct {
	Archive string `json:"archive"` // its key
	ArchivedRow
}

// BesideTable is a table beside the export logs, which we made for archived rows.
// Nothing but an erasure deletes from it; it stays until it is dropped.
type BesideTable struct {
	Name      string
	CreatedAt Time
	Fault     string // why it cannot be worked with; "" where it is as it was made
}

// BesideStore keeps archived rows in tables beside the export logs, for looking at
// them. What is there counts for nothing: no metric, no hour, no retention, no hold.
// It is erased with its users. The table of a name that somebody dropped is forgotten.
type BesideStore interface {
	// RestoreBeside adds rows to a table, in one transaction, and says of each in order
	// whether it is new: a row whose id is there stays as it is. The table is made where
	// there is none, also without any row. KindInvalid says that the name is none to be
	// used, KindConflict that we did not make what has it, or that its columns were
	// changed. The epoch is that of RestoreRows.
	RestoreBeside(ctx context.Context, table string, rows []FoundRow, epoch int64, now Time) ([]bool, error)
	// BesideTables returns the tables that are there, by name.
	BesideTables(ctx context.Context) ([]BesideTable, error)
	// DropBeside drops a table, which may be named as in RestoreBeside. KindNotFound says
	// that we made none of the name, KindConflict that its columns were changed.
	DropBeside(ctx context.Context, table string) error
}

var besideName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// CheckBeside reports why a table beside the export logs cannot have a name, which may
// have a schema in front.
func CheckBeside(name string) error {
	refuse := func(why string) error {
		return &Error{
			Kind: KindInvalid, Field: "table", Message: fmt.Sprintf("%s is no name for a table beside the export logs: %s", quoteShort(name), why),
			Hint: "give it one of small letters, digits and underscores, such as old_exports",
		}
	}
	schema, table, qualified := strings.Cut(name, ".")
	if !qualified {
		schema, table = "", name
	}
	switch {
	case !besideName.MatchString(table) || qualified && !besideName.MatchString(schema):
		return refuse("it has to be 1 to 63 small letters, digits and underscores, without a digit in front")
	case schema == "exportops" || strings.HasPrefix(table, "exportops_"):
		return refuse("such tables are ours")
	case schema == "information_schema" || strings.HasPrefix(schema, "pg_") || strings.HasPrefix(table, "sqlite_") || strings.HasPrefix(table, "pg_"):
		return refuse("such tables are the database's")
	}
	return nil
}

// Usable is KindConflict where a table cannot be worked with.
func (t BesideTable) Usable() error {
	if t.Fault == "" {
		return nil
	}
	return &Error{
		Kind: KindConflict, Field: "table", Message: fmt.Sprintf("the table %s was made for archived rows, and %s", t.Name, t.Fault),
		Hint: "undo that, or drop the table by SQL once nobody needs it: until then no user can be erased from it",
	}
}

// BesideTaken says that somebody else's table has a name.
func BesideTaken(name string) error {
	return &Error{
		Kind: KindConflict, Field: "table", Message: fmt.Sprintf("there is a %s already that archive restore --beside did not make", name),
		Hint: "choose another name",
	}
}

// NoBeside is the answer about a table that we did not make, or that is gone.
func NoBeside(name string, there []BesideTable) error {
	hint := "there is none"
	if len(there) > 0 {
		names := make([]string, len(there))
		for i, t := range there {
			names[i] = t.Name
		}
		hint = "those that are there: " + strings.Join(names, ", ")
	}
	return &Error{
		Kind: KindNotFound, Field: "table", Message: fmt.Sprintf("%s is no table that archive restore --beside made", quoteShort(name)), Hint: hint,
	}
}

// BesideFault says in which columns a table is not as it was made, "" where it is. Each
// is a name and a type; their order does not matter.
func BesideFault(made, have []string) string {
	without := func(these, those []string) (left []string) {
		for _, c := range these {
			if !slices.Contains(those, c) {
				left = append(left, c)
			}
		}
		return left
	}
	var faults []string
	if lost := without(made, have); len(lost) > 0 {
		faults = append(faults, "it lacks "+strings.Join(lost, ", "))
	}
	if added := without(have, made); len(added) > 0 {
		faults = append(faults, "it has "+strings.Join(added, ", "))
	}
	if len(faults) == 0 {
		return ""
	}
	return "its columns were changed: " + strings.Join(faults, " and ")
}
