-- +goose Up

-- What an entry's place in the chain commits to; see the columns from salt on.
ALTER TABLE exportops_deletions ADD COLUMN content BLOB;

-- Who had a failed or quarantined entry tried again, and when.
ALTER TABLE exportops_deletions ADD COLUMN retried_at TEXT;
ALTER TABLE exportops_deletions ADD COLUMN retried_by TEXT;

-- What is to be linked: nothing, for most of the time.
CREATE INDEX exportops_deletions_unchained ON exportops_deletions (id) WHERE chain_day IS NULL AND state <> 'claimed';

-- Places in the chain whose entries have been tried again since.
CREATE TABLE exportops_deletion_links (
    chain_day   TEXT    NOT NULL,
    chain_seq   INTEGER NOT NULL,
    deletion_id INTEGER NOT NULL,
    content     BLOB    NOT NULL,
    chain_hash  BLOB    NOT NULL,
    PRIMARY KEY (chain_day, chain_seq)
) WITHOUT ROWID;

-- The days of the chain: where each begins and ends.
CREATE TABLE exportops_deletion_days (
    day        TEXT    PRIMARY KEY,
    begins     BLOB    NOT NULL, -- the hash that the day before ended with
    links      INTEGER NOT NULL,
    chain_hash BLOB    NOT NULL, -- of its last link
    pruned     INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- Somebody asked an active run to stop.
ALTER TABLE exportops_runs ADD COLUMN cancelled_at TEXT;
ALTER TABLE exportops_runs ADD COLUMN cancelled_by TEXT;

-- +goose Down
ALTER TABLE exportops_runs DROP COLUMN cancelled_by;
ALTER TABLE exportops_runs DROP COLUMN cancelled_at;
DROP TABLE exportops_deletion_days;
DROP TABLE exportops_deletion_links;
DROP INDEX exportops_deletions_unchained;
ALTER TABLE exportops_deletions DROP COLUMN retried_by;
ALTER TABLE exportops_deletions DROP COLUMN retried_at;
ALTER TABLE exportops_deletions DROP COLUMN content;
