package scheduler

import (
	"database/sql"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
)

// DB is the database that the job engine keeps its tables in.
type DB struct {
	pool   *sql.DB
	driver riverdriver.Driver[*sql.Tx]
	schema string // that holds the tables; "" where there are none
	// indexes are those that the engine rebuilds from time to time; nil for the
	// ones it chooses.
	indexes []string
}

// SQLite takes the pool with the one connection that may write.
func SQLite(pool *sql.DB) DB {
	// SQLite's indexes need no rebuilding, and it lacks some of the default ones.
	return DB{pool: pool, driver: riversqlite.New(pool), indexes: []string{}}
}

// Postgres takes a pool, and our schema. The engine polls, so that the pool may
// be behind a transaction pooler, where nothing can be listened for.
func Postgres(pool *sql.DB, schema string) DB {
	// Rebuilding indexes needs rights that a role which runs does not have.
	return DB{pool: pool, driver: riverdatabasesql.New(pool), schema: schema, indexes: []string{}}
}
