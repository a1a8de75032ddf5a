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

// explain gives the errors an operator can do something about their kind. It
// never repeats the URL, which may hold a password.
func (s *Store) explain(err error) error {
	var known *exportops.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, exportops.ErrFenced) || errors.Is(err, context.Canceled) {
		return err
	}
	var told *pgconn.PgError
	if errors.As(err, &told) {
		if e := s.explainServer(told); e != nil {
			e.Kind, e.Err = exportops.KindUnavailable, err
			return e
		}
		return err
	}
	var connect *pgconn.ConnectError
	var network *net.OpError
	if errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Field: "DATABASE_URL", Err: err,
			Message: fmt.Sprintf("the database %s cannot be reached", s.Name()),
			Hint:    "check that the server runs and that host and port in DATABASE_URL are right",
		}
	}
	return err
}

// explainServer is nil for what is our fault.
func (s *Store) explainServer(e *pgconn.PgError) *exportops.Error {
	database := func(hint, message string, args ...any) *exportops.Error {
		return &exportops.Error{Field: "DATABASE_URL", Message: fmt.Sprintf(message, args...), Hint: hint}
	}
	name := s.Name()
	switch e.Code {
	case "28P01", "28000":
		return database("check user and password in DATABASE_URL", "the database %s refuses the role %q", name, s.role())
	case "3D000":
		return database("create it, or name another in DATABASE_URL", "there is no database %s", name)
	case "42501":
		return s.explainRights(e)
	case "42P01", "42703", "3F000":
		return s.explainMissing(e)
	case "55P03":
		return database("look for who holds it in pg_stat_activity, or raise EXPORTOPS_DB_LOCK_TIMEOUT",
			"a lock was not to be had within %s", s.opened.LockTimeout)
	case "57014":
		return database("look for what slows the database down, or raise EXPORTOPS_DB_STATEMENT_TIMEOUT",
			"a statement was ended; it may take %s", s.opened.StatementTimeout)
	case "53300":
		return database("lower EXPORTOPS_DB_POOL_SIZE, or raise the limit of the server, the role or the pooler",
			"the database %s has no connection left for us", name)
	case "53100":
		return database("make room on its disk", "the disk of the database %s is full", name)
	case "25006":
		return database("name the primary server in DATABASE_URL", "the database %s only reads: it may be a standby", name)
	case deadlockDetected, "40001":
		return database("try again", "several transactions waited for each other, again and again")
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "08", "53", "57", "58": // connection, resources, operators, system
		return database("see the log of the database server", "the database %s cannot be used now", name)
	}
	return nil
}

// explainRights tells row level security, which makes rows invisible, from a
// privilege that was not granted. The server's messages may be in any language;
// the name of its routine is not.
func (s *Store) explainRights(e *pgconn.PgError) *exportops.Error {
	if e.Routine == "check_enable_rls" {
		return &exportops.Error{
			Field:   "EXPORT_LOGS_TABLE",
			Message: fmt.Sprintf("row level security would hide rows of %s from the role %q", s.table, s.role()),
			Hint: "a policy is not enough: give the role BYPASSRLS, or log in as one that has it; " +
				"exportops migrate --print-grants shows how",
		}
	}
	field := "DATABASE_URL"
	if strings.Contains(e.Message, s.place[1]) || strings.Contains(e.Message, s.place[0]) && s.place[0] != "public" {
		field = "EXPORT_LOGS_TABLE"
	}
	return &exportops.Error{
		Field:   field,
		Message: fmt.Sprintf("the role %q lacks a privilege: %s", s.role(), e.Message),
		Hint:    "exportops migrate --print-grants shows what it needs",
	}
}

func (s *Store) explainMissing(e *pgconn.PgError) *exportops.Error {
	if strings.Contains(e.Message, "exportops") {
		return &exportops.Error{
			Field: "DATABASE_URL", Message: fmt.Sprintf("the database %s lacks a table or column of ours", s.Name()),
			Hint: "bring it up to date with: exportops migrate",
		}
	}
	return &exportops.Error{
		Field: "EXPORT_LOGS_TABLE", Message: fmt.Sprintf("table %s cannot be used: %s", s.table, e.Message),
		Hint: "name a table, or a view, that has every column in EXPORT_LOGS_TABLE",
	}
}
