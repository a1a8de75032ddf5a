-- +goose Up

-- An archive may take the place of another, from which a user was erased.
ALTER TABLE exportops.archives
    DROP CONSTRAINT archives_state_check,
    ADD CONSTRAINT archives_state_check
        CHECK (state IN ('intended', 'written', 'verified', 'deleting', 'done', 'abandoned', 'replaced', 'removed')),
    ADD COLUMN replaces bigint NOT NULL DEFAULT 0,
    ADD COLUMN replaced_by bigint NOT NULL DEFAULT 0,
    ADD COLUMN removed_at timestamptz;
DROP INDEX exportops.archives_unfinished;
CREATE INDEX archives_unfinished ON exportops.archives (id) WHERE state NOT IN ('done', 'abandoned', 'replaced', 'removed');

-- How often rows that were read before became outdated: archives and restored rows
-- are recorded only in the epoch in which their rows were read. No row is epoch 0.
CREATE TABLE exportops.archive_epoch (
    one   integer PRIMARY KEY CHECK (one = 1),
    epoch bigint NOT NULL
);

-- +goose Down
DROP TABLE exportops.archive_epoch;
UPDATE exportops.archives SET state = 'abandoned' WHERE state IN ('replaced', 'removed');
DROP INDEX exportops.archives_unfinished;
ALTER TABLE exportops.archives
    DROP CONSTRAINT archives_state_check,
    ADD CONSTRAINT archives_state_check CHECK (state IN ('intended', 'written', 'verified', 'deleting', 'done', 'abandoned')),
    DROP COLUMN replaces, DROP COLUMN replaced_by, DROP COLUMN removed_at;
CREATE INDEX archives_unfinished ON exportops.archives (id) WHERE state NOT IN ('done', 'abandoned');
