-- +goose Up

-- The tables beside the export logs that were made for archived rows: an erasure has
-- to reach them. One that was dropped is forgotten.
CREATE TABLE exportops.restored_tables (
    name       text        PRIMARY KEY, -- with its schema
    created_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE exportops.restored_tables;
