-- +goose Up

-- The outbox: one row is one message that one channel is to be told.
CREATE TABLE exportops_notifications (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE, -- of the message, the same at each attempt
    key         TEXT    NOT NULL UNIQUE, -- of what it tells
    channel     TEXT    NOT NULL,
    incident_id TEXT,
    state       TEXT    NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts    INTEGER NOT NULL DEFAULT 0, -- its number fences an attempt
    failures    INTEGER NOT NULL DEFAULT 0, -- since it was made, or was tried again on request
    next_at     TEXT    NOT NULL,           -- of one that is being sent: when the lease ends
    lease_until TEXT,                       -- while it is being sent
    last_error  TEXT    NOT NULL DEFAULT '',
    body        TEXT    NOT NULL,
    created_at  TEXT    NOT NULL,
    settled_at  TEXT
);
CREATE INDEX exportops_notifications_pending ON exportops_notifications (channel, next_at, seq) WHERE state = 'pending';
CREATE INDEX exportops_notifications_dead ON exportops_notifications (channel, seq) WHERE state = 'dead';
CREATE INDEX exportops_notifications_incident ON exportops_notifications (incident_id, channel, seq) WHERE incident_id IS NOT NULL;
CREATE INDEX exportops_notifications_created ON exportops_notifications (created_at);

-- +goose Down
DROP TABLE exportops_notifications;
