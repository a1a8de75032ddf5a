-- +goose Up

-- An archive may take the place of another, from which a user was erased. SQLite
-- cannot change what a column is checked for, so the table is made anew.
CREATE TABLE exportops_archives_new (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    state       TEXT    NOT NULL CHECK (state IN ('intended', 'written', 'verified', 'deleting', 'done', 'abandoned', 'replaced', 'removed')),
    store       TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    month       TEXT    NOT NULL, -- its first instant
    sequence    INTEGER NOT NULL,
    rows        INTEGER NOT NULL,
    deleted     INTEGER NOT NULL DEFAULT 0,
    oldest      TEXT,
    newest      TEXT,
    bytes       INTEGER NOT NULL,
    sha256      TEXT    NOT NULL,
    run_id      TEXT    NOT NULL,
    created_at  TEXT    NOT NULL,
    written_at  TEXT,
    verified_at TEXT,
    finished_at TEXT,
    error       TEXT    NOT NULL DEFAULT '',
    replaces    INTEGER NOT NULL DEFAULT 0,
    replaced_by INTEGER NOT NULL DEFAULT 0,
    removed_at  TEXT,
    UNIQUE (month, sequence)
);
INSERT INTO exportops_archives_new (id, state, store, key, month, sequence, rows, deleted, oldest, newest, bytes, sha256, run_id,
        created_at, written_at, verified_at, finished_at, error)
    SELECT id, state, store, key, month, sequence, rows, deleted, oldest, newest, bytes, sha256, run_id,
        created_at, written_at, verified_at, finished_at, error
    FROM exportops_archives;
DROP TABLE exportops_archives;
ALTER TABLE exportops_archives_new RENAME TO exportops_archives;
CREATE INDEX exportops_archives_unfinished ON exportops_archives (id) WHERE state NOT IN ('done', 'abandoned', 'replaced', 'removed');

-- How often rows that were read before became outdated: archives and restored rows
-- are recorded only in the epoch in which their rows were read. No row is epoch 0.
CREATE TABLE exportops_archive_epoch (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL
);

-- +goose Down
DROP TABLE exportops_archive_epoch;
CREATE TABLE exportops_archives_old (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    state       TEXT    NOT NULL CHECK (state IN ('intended', 'written', 'verified', 'deleting', 'done', 'abandoned')),
    store       TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    month       TEXT    NOT NULL, -- its first instant
    sequence    INTEGER NOT NULL,
    rows        INTEGER NOT NULL,
    deleted     INTEGER NOT NULL DEFAULT 0,
    oldest      TEXT,
    newest      TEXT,
    bytes       INTEGER NOT NULL,
    sha256      TEXT    NOT NULL,
    run_id      TEXT    NOT NULL,
    created_at  TEXT    NOT NULL,
    written_at  TEXT,
    verified_at TEXT,
    finished_at TEXT,
    error       TEXT    NOT NULL DEFAULT '',
    UNIQUE (month, sequence)
);
INSERT INTO exportops_archives_old
    SELECT id, CASE WHEN state IN ('replaced', 'removed') THEN 'abandoned' ELSE state END, store, key, month, sequence, rows, deleted,
        oldest, newest, bytes, sha256, run_id, created_at, written_at, verified_at, finished_at, error
    FROM exportops_archives;
DROP TABLE exportops_archives;
ALTER TABLE exportops_archives_old RENAME TO exportops_archives;
CREATE INDEX exportops_archives_unfinished ON exportops_archives (id) WHERE state NOT IN ('done', 'abandoned');
