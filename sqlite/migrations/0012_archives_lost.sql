-- +goose Up

-- An archive may be lost. SQLite cannot change what a column is checked for, so the
-- table is made anew.
CREATE TABLE exportops_archives_new (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    state       TEXT    NOT NULL
        CHECK (state IN ('intended', 'written', 'verified', 'deleting', 'done', 'abandoned', 'replaced', 'removed', 'lost')),
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
INSERT INTO exportops_archives_new SELECT * FROM exportops_archives;
DROP TABLE exportops_archives;
ALTER TABLE exportops_archives_new RENAME TO exportops_archives;
CREATE INDEX exportops_archives_unfinished ON exportops_archives (id)
    WHERE state NOT IN ('done', 'abandoned', 'replaced', 'removed', 'lost');

-- +goose Down
CREATE TABLE exportops_archives_old (
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
UPDATE exportops_archives SET state = 'abandoned' WHERE state = 'lost';
INSERT INTO exportops_archives_old SELECT * FROM exportops_archives;
DROP TABLE exportops_archives;
ALTER TABLE exportops_archives_old RENAME TO exportops_archives;
CREATE INDEX exportops_archives_unfinished ON exportops_archives (id) WHERE state NOT IN ('done', 'abandoned', 'replaced', 'removed');
