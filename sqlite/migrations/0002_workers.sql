-- +goose Up

-- Processes that help the holder of a run, each with claims of its own.
CREATE TABLE exportops_workers (
    run_id      TEXT    NOT NULL,
    token       INTEGER NOT NULL, -- below zero, where the holder's is above
    holder      TEXT    NOT NULL,
    lease_until TEXT    NOT NULL,
    left_at     TEXT,
    result      TEXT,
    PRIMARY KEY (run_id, token)
) WITHOUT ROWID;

-- Set by a holder that has come to its end.
ALTER TABLE exportops_runs ADD COLUMN closing INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE exportops_runs DROP COLUMN closing;
DROP TABLE exportops_workers;
