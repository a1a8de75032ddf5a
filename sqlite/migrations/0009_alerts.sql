-- +goose Up

-- What alert rules found, one open incident at most for a rule and a subject. The
-- columns are what is looked for; the record itself is the body.
CREATE TABLE exportops_incidents (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    rule        TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('pending', 'firing', 'resolved')),
    fired_at    TEXT,
    resolved_at TEXT,
    version     INTEGER NOT NULL,
    body        TEXT    NOT NULL
);
CREATE UNIQUE INDEX exportops_incidents_open ON exportops_incidents (rule, subject) WHERE state <> 'resolved';
CREATE INDEX exportops_incidents_resolved ON exportops_incidents (resolved_at) WHERE resolved_at IS NOT NULL;

CREATE TABLE exportops_incident_events (
    seq         INTEGER PRIMARY KEY,
    incident_id TEXT    NOT NULL,
    at          TEXT    NOT NULL,
    step        TEXT    NOT NULL,
    value       REAL    NOT NULL,
    by          TEXT    NOT NULL DEFAULT '',
    note        TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX exportops_incident_events_incident ON exportops_incident_events (incident_id, seq);

CREATE TABLE exportops_silences (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    rule      TEXT    NOT NULL, -- empty for every one
    subject   TEXT    NOT NULL, -- likewise
    until     TEXT    NOT NULL, -- or when it was ended before its time
    reason    TEXT    NOT NULL,
    placed_by TEXT    NOT NULL,
    placed_at TEXT    NOT NULL,
    ended_at  TEXT,
    ended_by  TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX exportops_silences_until ON exportops_silences (until);

-- +goose Down
DROP TABLE exportops_silences;
DROP TABLE exportops_incident_events;
DROP TABLE exportops_incidents;
