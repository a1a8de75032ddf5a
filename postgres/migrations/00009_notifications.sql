-- +goose Up

-- The outbox: one row is one message that one channel is to be told.
CREATE TABLE exportops.notifications (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          uuid        NOT NULL UNIQUE, -- of the message, the same at each attempt
    key         text        NOT NULL UNIQUE, -- of what it tells
    channel     text        NOT NULL,
    incident_id uuid,
    state       text        NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts    integer     NOT NULL DEFAULT 0, -- its number fences an attempt
    failures    integer     NOT NULL DEFAULT 0, -- since it was made, or was tried again on request
    next_at     timestamptz NOT NULL,           -- of one that is being sent: when the lease ends
    lease_until timestamptz,                    -- while it is being sent
    last_error  text        NOT NULL DEFAULT '',
    body        jsonb       NOT NULL,
    created_at  timestamptz NOT NULL,
    settled_at  timestamptz
);
CREATE INDEX notifications_pending ON exportops.notifications (channel, next_at, seq) WHERE state = 'pending';
CREATE INDEX notifications_dead ON exportops.notifications (channel, seq) WHERE state = 'dead';
CREATE INDEX notifications_incident ON exportops.notifications (incident_id, channel, seq) WHERE incident_id IS NOT NULL;
CREATE INDEX notifications_created ON exportops.notifications (created_at);

-- +goose Down
DROP TABLE exportops.notifications;
