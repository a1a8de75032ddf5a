-- +goose Up

-- The archives of log rows, one object each.
CREATE TABLE exportops.archives (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state       text        NOT NULL CHECK (state IN ('intended', 'written', 'verified', 'deleting', 'done', 'abandoned')),
    store       text        NOT NULL,
    key         text        NOT NULL,
    month       timestamptz NOT NULL, -- its first instant
    sequence    bigint      NOT NULL,
    rows        bigint      NOT NULL,
    deleted     bigint      NOT NULL DEFAULT 0,
    oldest      timestamptz,
    newest      timestamptz,
    bytes       bigint      NOT NULL,
    sha256      text        NOT NULL,
    run_id      text        NOT NULL,
    created_at  timestamptz NOT NULL,
    written_at  timestamptz,
    verified_at timestamptz,
    finished_at timestamptz,
    error       text        NOT NULL DEFAULT '',
    UNIQUE (month, sequence)
);
CREATE INDEX archives_unfinished ON exportops.archives (id) WHERE state NOT IN ('done', 'abandoned');

-- The rows of archives that are not finished, each in one of them.
CREATE TABLE exportops.archive_rows (
    archive_id bigint NOT NULL,
    position   bigint NOT NULL,
    row_id     uuid   NOT NULL UNIQUE,
    hash       bytea  NOT NULL,
    PRIMARY KEY (archive_id, position)
);

-- +goose Down
DROP TABLE exportops.archive_rows, exportops.archives;
