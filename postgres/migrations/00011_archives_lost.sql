-- +goose Up

-- An archive may be lost.
ALTER TABLE exportops.archives
    DROP CONSTRAINT archives_state_check,
    ADD CONSTRAINT archives_state_check
        CHECK (state IN ('intended', 'written', 'verified', 'deleting', 'done', 'abandoned', 'replaced', 'removed', 'lost'));
DROP INDEX exportops.archives_unfinished;
CREATE INDEX archives_unfinished ON exportops.archives (id)
    WHERE state NOT IN ('done', 'abandoned', 'replaced', 'removed', 'lost');

-- +goose Down
UPDATE exportops.archives SET state = 'abandoned' WHERE state = 'lost';
DROP INDEX exportops.archives_unfinished;
ALTER TABLE exportops.archives
    DROP CONSTRAINT archives_state_check,
    ADD CONSTRAINT archives_state_check
        CHECK (state IN ('intended', 'written', 'verified', 'deleting', 'done', 'abandoned', 'replaced', 'removed'));
CREATE INDEX archives_unfinished ON exportops.archives (id) WHERE state NOT IN ('done', 'abandoned', 'replaced', 'removed');
