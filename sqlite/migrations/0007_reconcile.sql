-- +goose Up

-- Files below the export prefix that no row named when they were found.
CREATE TABLE exportops_unknown_files (
    store      TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    modified   TEXT    NOT NULL,
    version    TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('seen', 'quarantined', 'adopted', 'gone')),
    first_seen TEXT    NOT NULL, -- unknown, and as it is
    last_seen  TEXT    NOT NULL,
    PRIMARY KEY (store, key)
) WITHOUT ROWID;
CREATE INDEX exportops_unknown_files_ended ON exportops_unknown_files (last_seen) WHERE state IN ('adopted', 'gone');

-- Exports whose rows name a file that storage does not have.
CREATE TABLE exportops_missing_files (
    export_id  TEXT NOT NULL PRIMARY KEY,
    store      TEXT NOT NULL,
    key        TEXT NOT NULL,
    file_url   TEXT, -- with the expiry what the row was
    expires_at TEXT,
    first_seen TEXT NOT NULL,
    last_seen  TEXT NOT NULL
) WITHOUT ROWID;

-- +goose Down
DROP TABLE exportops_missing_files;
DROP TABLE exportops_unknown_files;
