package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Grants returns the SQL that makes two roles, each with no more than it needs:
// one that migrates, and one that everything else runs as. An administrator
// reads it and runs it, after the table of export logs is there.
func (s *Store) Grants(ctx context.Context, migrator, runner string) (string, error) {
	var secured bool
	err := s.reading(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT coalesce(bool_or(c.relrowsecurity OR c.relkind = 'v'), false)
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`,
			s.place[0], s.place[1]).Scan(&secured)
	})
	if err != nil {
		return "", err
	}
	bypass := ""
	if secured {
		bypass = " BYPASSRLS"
	}
	return strings.NewReplacer(
		"{migrator}", pgx.Identifier{migrator}.Sanitize(), "{runner}", pgx.Identifier{runner}.Sanitize(),
		"{bypass}", bypass, "{logs}", s.place.Sanitize(), "{schema}", pgx.Identifier{s.place[0]}.Sanitize(),
		"{database}", fmt.Sprintf("%q", s.pool.Config().ConnConfig.Database),
	).Replace(grants), nil
}

const grants = `-- Run this in the database {database} as an administrator, and give each role a
-- password: in psql with \password.
CREATE ROLE {migrator} LOGIN;
CREATE ROLE {runner} LOGIN{bypass};

-- Who migrates owns our schema, and nothing else.
GRANT {migrator} TO CURRENT_USER;
CREATE SCHEMA IF NOT EXISTS exportops;
ALTER SCHEMA exportops OWNER TO {migrator};

-- Who runs uses what is in it now, and what later versions add.
GRANT USAGE ON SCHEMA exportops TO {runner};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA exportops TO {runner};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA exportops TO {runner};
ALTER DEFAULT PRIVILEGES FOR ROLE {migrator} IN SCHEMA exportops
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {runner};
ALTER DEFAULT PRIVILEGES FOR ROLE {migrator} IN SCHEMA exportops GRANT USAGE ON SEQUENCES TO {runner};

-- The export logs stay the application's.
GRANT USAGE ON SCHEMA {schema} TO {runner};
GRANT SELECT, INSERT, UPDATE, DELETE ON {logs} TO {runner};

-- Only to look at archived rows in tables beside the export logs, with
-- exportops archive restore --beside: who runs makes them, and owns them.
-- GRANT CREATE ON SCHEMA {schema} TO {runner};
`
