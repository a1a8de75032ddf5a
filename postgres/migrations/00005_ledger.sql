-- +goose Up

-- What an entry's place in the chain commits to (see the columns from salt on);
-- and who had a failed or quarantined entry tried again, and when.
ALTER TABLE exportops.deletions
    ADD COLUMN content    bytea,
    ADD COLUMN retried_at timestamptz,
    ADD COLUMN retried_by text;

-- What is to be linked: nothing, for most of the time.
CREATE INDEX deletions_unchained ON exportops.deletions (id) WHERE chain_day IS NULL AND state <> 'claimed';

-- Places in the chain whose entries have been tried again since.
CREATE TABLE exportops.deletion_links (
    chain_day   date   NOT NULL,
    chain_seq   bigint NOT NULL,
    deletion_id bigint NOT NULL,
    content     bytea  NOT NULL,
    chain_hash  bytea  NOT NULL,
    PRIMARY KEY (chain_day, chain_seq)
);

-- The days of the chain: where each begins and ends.
CREATE TABLE exportops.deletion_days (
    day        date    PRIMARY KEY,
    begins     bytea   NOT NULL, -- the hash that the day before ended with
    links      bigint  NOT NULL,
    chain_hash bytea   NOT NULL, -- of its last link
    pruned     boolean NOT NULL DEFAULT false
);

-- Somebody asked an active run to stop.
ALTER TABLE exportops.runs
    ADD COLUMN cancelled_at timestamptz,
    ADD COLUMN cancelled_by text;

-- +goose Down
ALTER TABLE exportops.runs DROP COLUMN cancelled_by, DROP COLUMN cancelled_at;
DROP TABLE exportops.deletion_days, exportops.deletion_links;
DROP INDEX exportops.deletions_unchained;
ALTER TABLE exportops.deletions DROP COLUMN retried_by, DROP COLUMN retried_at, DROP COLUMN content;
