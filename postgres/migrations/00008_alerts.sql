-- +goose Up

-- What alert rules found, one open incident at most for a rule and a subject. The
-- columns are what is looked for; the record itself is the body.
CREATE TABLE exportops.incidents (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          uuid        NOT NULL UNIQUE,
    rule        text        NOT NULL,
    subject     text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('pending', 'firing', 'resolved')),
    fired_at    timestamptz,
    resolved_at timestamptz,
    version     bigint      NOT NULL,
    body        jsonb       NOT NULL
);
CREATE UNIQUE INDEX incidents_open ON exportops.incidents (rule, subject) WHERE state <> 'resolved';
CREATE INDEX incidents_resolved ON exportops.incidents (resolved_at) WHERE resolved_at IS NOT NULL;

CREATE TABLE exportops.incident_events (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id uuid             NOT NULL,
    at          timestamptz      NOT NULL,
    step        text             NOT NULL,
    value       double precision NOT NULL,
    by          text             NOT NULL DEFAULT '',
    note        text             NOT NULL DEFAULT ''
);
CREATE INDEX incident_events_incident ON exportops.incident_events (incident_id, seq);

CREATE TABLE exportops.silences (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule      text        NOT NULL, -- empty for every one
    subject   text        NOT NULL, -- likewise
    until     timestamptz NOT NULL, -- or when it was ended before its time
    reason    text        NOT NULL,
    placed_by text        NOT NULL,
    placed_at timestamptz NOT NULL,
    ended_at  timestamptz,
    ended_by  text        NOT NULL DEFAULT ''
);
CREATE INDEX silences_until ON exportops.silences (until);

-- +goose Down
DROP TABLE exportops.silences;
DROP TABLE exportops.incident_events;
DROP TABLE exportops.incidents;
