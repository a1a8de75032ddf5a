-- +goose Up

-- Proof that users were erased, without who they were.
CREATE TABLE exportops_erasures (
    seq         INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    user_hash   TEXT    NOT NULL,
    finished_at TEXT    NOT NULL,
    receipt     TEXT    NOT NULL
);
CREATE INDEX exportops_erasures_user ON exportops_erasures (user_hash);

-- What the hashes are keyed with.
CREATE TABLE exportops_erasure_key (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    key BLOB    NOT NULL
);

-- +goose Down
DROP TABLE exportops_erasure_key;
DROP TABLE exportops_erasures;
