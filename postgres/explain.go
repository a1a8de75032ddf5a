package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/exportops/exportops"
)

// The settings that errors name.
const (
	databaseURL = "DATABASE_URL"
	logsTable   = "EXPORT_LOGS_TABLE"
)

// explain gives the errors an operator can do something about their kind, and
// says what to do. The driver's errors name host, database and role, and never
// the password.
func (s *Store) explain(err error) error {
	var e *exportops.Error
	if err == nil || errors.As(err, &e) || errors.Is(err, exportops.ErrFenced) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		if a := s.advice(pg); a.message != "" {
			return &exportops.Error{
				Kind: exportops.KindUnavailable, Field: a.field, Message: a.message, Hint: a.hint, Err: err,
			}
		}
	}
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || pgconn.SafeToRetry(err) {
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Field: databaseURL, Err: err,
			Message: fmt.Sprintf("the database %s cannot be reached", s.name),
			Hint:    "check host and port, that the server runs, and that it takes connections from here",
		}
	}
	return err
}

// advice is what to tell an operator.
type advice struct{ field, message, hint string }

// advice says what an operator can do about an error of the server, or nothing.
func (s *Store) advice(e *pgconn.PgError) advice {
	switch e.Code {
	case "28P01", "28000":
		return advice{databaseURL, fmt.Sprintf("the server refuses role %s", s.role), "check the role and its password, and the server's pg_hba.conf"}
	case "3D000":
		return advice{databaseURL, fmt.Sprintf("there is no database at %s", s.name), "create it, or name another one"}
	case "42501":
		if e.Routine == "check_enable_rls" {
			return s.blinded()
		}
		return advice{
			databaseURL, fmt.Sprintf("role %s lacks a permission: %s", s.role, e.Message),
			"grant it; exportops migrate --print-grants prints what a role needs",
		}
	case "42P01", "3F000", "42703":
		return s.missing(e)
	case "55P03":
		return advice{databaseURL, "a lock was waited for in vain", "find the transaction that holds it in pg_stat_activity, or raise EXPORTOPS_DB_LOCK_TIMEOUT"}
	case "57014":
		return advice{databaseURL, "a statement took longer than it may, or was cancelled", "raise EXPORTOPS_DB_STATEMENT_TIMEOUT, and see exportops doctor for indexes that are missing"}
	case deadlockDetected, "40001":
		return advice{databaseURL, "transactions stood in each other's way more than once", "try again"}
	case "53300":
		return advice{databaseURL, "the server has no connection left", "lower EXPORTOPS_DB_POOL_SIZE, raise max_connections, or use a pooler"}
	case "53100", "53200", "58030":
		return advice{databaseURL, "the server has run out of disk or memory", "make room on the server"}
	case "25006":
		return advice{databaseURL, "the server takes no changes now: it is a replica, or was set to read only", "name the primary server"}
	case "57P01", "57P02", "57P03":
		return advice{databaseURL, fmt.Sprintf("the database %s is starting up or shutting down", s.name), "try again in a moment"}
	}
	return advice{}
}

// missing is about a table or a column that is not there.
func (s *Store) missing(e *pgconn.PgError) advice {
	ours := strings.Contains(e.Message, `"exportops.`) || strings.Contains(e.Message, `"exportops"`)
	if e.Code != "42703" && ours {
		return advice{databaseURL, fmt.Sprintf("the database %s lacks our tables", s.name), "create them with: exportops migrate"}
	}
	return advice{
		logsTable, fmt.Sprintf("table %s is not as it should be: %s", s.table, e.Message),
		"name the table, or a view, that holds the export logs",
	}
}

// blinded is about a role from whom row level security would hide rows. It is
// an error of every statement: a cleanup that sees no rows finds nothing to do.
func (s *Store) blinded() advice {
	return advice{
		logsTable, fmt.Sprintf("row level security hides rows of %s from role %s", s.table, s.role),
		fmt.Sprintf("connect as a role that it does not bind: ALTER ROLE %s BYPASSRLS, or the table's owner where security is not forced; a policy is not enough",
			s.role),
	}
}
