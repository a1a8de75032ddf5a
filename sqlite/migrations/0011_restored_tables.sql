-- +goose Up

-- The tables beside the export logs that were made for archived rows: an erasure has
-- to reach them. One that was dropped is forgotten.
CREATE TABLE exportops_restored_tables (
    name       TEXT PRIMARY KEY NOT NULL,
    created_at TEXT NOT NULL
) WITHOUT ROWID;

-- +goose Down
DROP TABLE exportops_restored_tables;
