-- +goose Up

-- Files below the export prefix that no row named when they were found. Keys are
-- in the order of their bytes, as storage lists them.
CREATE TABLE exportops.unknown_files (
    store      text        NOT NULL,
    key        text        COLLATE "C" NOT NULL,
    size       bigint      NOT NULL,
    modified   timestamptz NOT NULL,
    version    text        NOT NULL,
    state      text        NOT NULL CHECK (state IN ('seen', 'quarantined', 'adopted', 'gone')),
    first_seen timestamptz NOT NULL, -- unknown, and as it is
    last_seen  timestamptz NOT NULL,
    PRIMARY KEY (store, key)
);
CREATE INDEX unknown_files_ended ON exportops.unknown_files (last_seen) WHERE state IN ('adopted', 'gone');

-- Exports whose rows name a file that storage does not have.
CREATE TABLE exportops.missing_files (
    export_id  uuid        PRIMARY KEY,
    store      text        NOT NULL,
    key        text        NOT NULL,
    file_url   text, -- with the expiry what the row was
    expires_at timestamptz,
    first_seen timestamptz NOT NULL,
    last_seen  timestamptz NOT NULL
);

-- +goose Down
DROP TABLE exportops.missing_files, exportops.unknown_files;
