-- +goose Up

-- Legal holds: what is under an active one is not deleted. Ids are given under a
-- lock, so that whoever knows the last one knows whether there is another.
CREATE TABLE exportops.holds (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope       text        NOT NULL CHECK (scope IN ('export', 'user', 'all')),
    subject     uuid        CHECK ((subject IS NULL) = (scope = 'all')),
    reason      text        NOT NULL,
    row_only    boolean     NOT NULL DEFAULT false,
    placed_by   text        NOT NULL,
    placed_at   timestamptz NOT NULL,
    released_at timestamptz,
    released_by text        NOT NULL DEFAULT ''
);
CREATE INDEX holds_active ON exportops.holds (subject, scope) WHERE released_at IS NULL;
CREATE INDEX holds_released ON exportops.holds (released_at) WHERE released_at IS NOT NULL;

-- +goose Down
DROP TABLE exportops.holds;
