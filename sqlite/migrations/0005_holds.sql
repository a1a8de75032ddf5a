-- +goose Up

-- Legal holds: what is under an active one is not deleted. An id is never used
-- again, so that whoever knows the last one knows whether there is another.
CREATE TABLE exportops_holds (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    scope       TEXT    NOT NULL CHECK (scope IN ('export', 'user', 'all')),
    subject     TEXT    NOT NULL, -- in lower case; empty for all
    reason      TEXT    NOT NULL,
    row_only    INTEGER NOT NULL DEFAULT 0,
    placed_by   TEXT    NOT NULL,
    placed_at   TEXT    NOT NULL,
    released_at TEXT,
    released_by TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX exportops_holds_active ON exportops_holds (subject, scope) WHERE released_at IS NULL;
CREATE INDEX exportops_holds_released ON exportops_holds (released_at) WHERE released_at IS NOT NULL;

-- +goose Down
DROP TABLE exportops_holds;
