-- +goose Up

-- The archives of log rows, one object each.
CREATE TABLE exportops_archives (
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
CREATE INDEX exportops_archives_unfinished ON exportops_archives (id) WHERE state NOT IN ('done', 'abandoned');

-- The rows of archives that are not finished, each in one of them.
CREATE TABLE exportops_archive_rows (
    archive_id INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    row_id     TEXT    NOT NULL UNIQUE,
    hash       BLOB    NOT NULL,
    PRIMARY KEY (archive_id, position)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE exportops_archive_rows;
DROP TABLE exportops_archives;
