package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// grants are two roles: one that migrates, and one that runs and can change no
// table's shape.
const grants = `-- The role that migrates: it makes our schema, and owns what is in it.
CREATE ROLE {migrator} LOGIN;
GRANT CREATE ON DATABASE {database} TO {migrator};

-- The role that runs. Row level security must not hide rows from it.
CREATE ROLE {runner} LOGIN{bypass};
GRANT USAGE ON SCHEMA {schema} TO {runner};
GRANT SELECT, INSERT, UPDATE, DELETE ON {logs} TO {runner};

-- Once the first migration has been run, as {migrator} or a superuser:
GRANT USAGE ON SCHEMA exportops TO {runner};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA exportops TO {runner};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA exportops TO {runner};
ALTER DEFAULT PRIVILEGES FOR ROLE {migrator} IN SCHEMA exportops
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {runner};
ALTER DEFAULT PRIVILEGES FOR ROLE {migrator} IN SCHEMA exportops GRANT USAGE ON SEQUENCES TO {runner};
`

// Grants returns the SQL that makes two roles with no more rights than they
// need. It is for an operator to read, to change and to run; passwords are set
// apart, with \password. BYPASSRLS, which a superuser alone can give, is in it
// where the table has row level security.
func (s *Store) Grants(ctx context.Context, migrator, runner string) (statements string, err error) {
	secured := false
	err = s.reading(ctx, func(tx pgx.Tx) error {
		// Of a view, the security of the tables under it is not looked for.
		return tx.QueryRow(ctx, `SELECT coalesce((SELECT relrowsecurity OR relkind = 'v' FROM pg_class WHERE oid = to_regclass($1)), true)`,
			s.sql(`{logs}`)).Scan(&secured)
	})
	bypass := ""
	if secured {
		bypass = " BYPASSRLS"
	}
	schema, _ := s.parts()
	return strings.NewReplacer(
		"{bypass}", bypass, "{migrator}", pgx.Identifier{migrator}.Sanitize(), "{runner}", pgx.Identifier{runner}.Sanitize(),
		"{database}", pgx.Identifier{s.database}.Sanitize(), "{schema}", pgx.Identifier{schema}.Sanitize(), "{logs}", s.sql(`{logs}`),
	).Replace(grants), err
}
