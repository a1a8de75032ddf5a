-- +goose Up

-- Proof that users were erased, without who they were.
CREATE TABLE exportops.erasures (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          uuid        NOT NULL UNIQUE,
    user_hash   text        NOT NULL,
    finished_at timestamptz NOT NULL,
    receipt     json        NOT NULL
);
CREATE INDEX erasures_user ON exportops.erasures (user_hash);

-- What the hashes are keyed with.
CREATE TABLE exportops.erasure_key (
    one int   PRIMARY KEY CHECK (one = 1),
    key bytea NOT NULL
);

-- +goose Down
DROP TABLE exportops.erasure_key;
DROP TABLE exportops.erasures;
