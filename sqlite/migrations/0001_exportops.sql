-- +goose Up

-- What one attempt of an export measured.
CREATE TABLE exportops_export_metrics (
    id                 INTEGER PRIMARY KEY,
    export_id          TEXT    NOT NULL,
    user_id            TEXT    NOT NULL,
    format             TEXT    NOT NULL,
    status             TEXT    NOT NULL CHECK (status IN ('queued', 'processing', 'completed', 'failed')),
    attempt            INTEGER NOT NULL CHECK (attempt >= 1),
    source             TEXT    NOT NULL CHECK (source IN ('measured', 'observed')),
    conversation_count INTEGER NOT NULL,
    duration_ms        INTEGER,
    file_size_bytes    INTEGER,
    error_type         TEXT,
    error_message      TEXT,
    timestamp          TEXT    NOT NULL,
    received_at        TEXT    NOT NULL,
    -- 1 for the one metric that its export counts as: the latest terminal one,
    -- else the latest of progress.
    outcome            INTEGER NOT NULL DEFAULT 0,
    -- The hour whose rollup holds this outcome, or will when it is computed
    -- again: the rollup of an hour is what the metrics with this value add up
    -- to. Null for what is no outcome or not finished.
    counted_hour       TEXT,
    -- At most one of an export has outcome = 1; an index for that alone would be
    -- one more page to write for each export.
    UNIQUE (export_id, status, attempt)
);
CREATE INDEX exportops_export_metrics_timestamp ON exportops_export_metrics (timestamp) WHERE outcome = 1;
CREATE INDEX exportops_export_metrics_counted ON exportops_export_metrics (counted_hour) WHERE counted_hour IS NOT NULL;
CREATE INDEX exportops_export_metrics_progress ON exportops_export_metrics (timestamp)
    WHERE outcome = 1 AND status IN ('queued', 'processing');

-- What is known of each hour's rollup. A version rises with every change of the
-- hour, so that a rollup computed from older metrics is not taken for a clean
-- one. Every counted_hour has a row here.
CREATE TABLE exportops_rollup_hours (
    start       TEXT    PRIMARY KEY,
    version     INTEGER NOT NULL DEFAULT 0,
    clean       INTEGER NOT NULL DEFAULT 0,
    sealed      INTEGER NOT NULL DEFAULT 0,
    open        INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX exportops_rollup_hours_stale ON exportops_rollup_hours (start) WHERE clean = 0 OR open > 0;

CREATE TABLE exportops_rollup_days (
    start TEXT PRIMARY KEY
) WITHOUT ROWID;

CREATE TABLE exportops_rollups (
    period          TEXT    NOT NULL CHECK (period IN ('hourly', 'daily')),
    start           TEXT    NOT NULL,
    format          TEXT    NOT NULL,
    count_range     TEXT    NOT NULL,
    completed       INTEGER NOT NULL,
    failed          INTEGER NOT NULL,
    duration_count  INTEGER NOT NULL,
    duration_sum    INTEGER NOT NULL,
    duration_max    INTEGER NOT NULL,
    duration_sketch BLOB,
    size_count      INTEGER NOT NULL,
    size_sum        INTEGER NOT NULL,
    size_max        INTEGER NOT NULL,
    size_sketch     BLOB,
    PRIMARY KEY (period, start, format, count_range)
) WITHOUT ROWID;

CREATE TABLE exportops_rollup_users (
    start   TEXT    NOT NULL,
    user_id TEXT    NOT NULL,
    exports INTEGER NOT NULL,
    PRIMARY KEY (start, user_id)
) WITHOUT ROWID;

CREATE TABLE exportops_rollup_errors (
    start      TEXT    NOT NULL,
    error_type TEXT    NOT NULL,
    exports    INTEGER NOT NULL,
    PRIMARY KEY (start, error_type)
) WITHOUT ROWID;

-- Runs of jobs, and slots that had none.
CREATE TABLE exportops_runs (
    seq             INTEGER PRIMARY KEY,
    id              TEXT    NOT NULL UNIQUE,
    job             TEXT    NOT NULL,
    lane            TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('running', 'done', 'partial', 'failed', 'refused', 'skipped', 'missed')),
    trigger         TEXT    NOT NULL,
    slot            TEXT,
    params          TEXT    NOT NULL,
    forced          INTEGER NOT NULL DEFAULT 0,
    holder          TEXT    NOT NULL,
    token           INTEGER NOT NULL,
    takeovers       INTEGER NOT NULL DEFAULT 0,
    lease_until     TEXT,
    started_at      TEXT    NOT NULL,
    finished_at     TEXT,
    result          TEXT,
    error           TEXT    NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX exportops_runs_active ON exportops_runs (lane) WHERE state = 'running';
CREATE UNIQUE INDEX exportops_runs_slot ON exportops_runs (job, slot) WHERE slot IS NOT NULL;
CREATE INDEX exportops_runs_finished ON exportops_runs (job, finished_at);

-- Which run answers the calls with an Idempotency-Key: one may answer several.
CREATE TABLE exportops_run_keys (
    key     TEXT PRIMARY KEY,
    run_id  TEXT NOT NULL,
    used_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX exportops_run_keys_used ON exportops_run_keys (used_at);

-- Since when each job has had its schedule: no slot before is due.
CREATE TABLE exportops_schedules (
    job        TEXT PRIMARY KEY,
    expression TEXT NOT NULL,
    since      TEXT NOT NULL
) WITHOUT ROWID;

-- The ledger: one file that was to be deleted, with what its claim saw.
CREATE TABLE exportops_deletions (
    id          INTEGER PRIMARY KEY,
    export_id   TEXT,
    user_id     TEXT,
    mode        TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('claimed', 'deleted', 'absent', 'failed', 'quarantined', 'changed')),
    store       TEXT    NOT NULL,
    bucket      TEXT    NOT NULL,
    key         TEXT, -- null where the location was refused, or erased
    file_url    TEXT,
    expires_at  TEXT, -- as it was stored, readable or not
    file_size   INTEGER,
    row_status  TEXT    NOT NULL,
    run_id      TEXT    NOT NULL,
    token       INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    failures    INTEGER NOT NULL DEFAULT 0,
    bytes       INTEGER NOT NULL DEFAULT 0,
    evidence    TEXT    NOT NULL DEFAULT '',
    error       TEXT    NOT NULL DEFAULT '',
    claimed_at  TEXT    NOT NULL,
    finished_at TEXT,
    next_try_at TEXT, -- null where it is not to be tried again
    -- The day's hash chain commits to a salted digest of what identifies the
    -- entry, so that the columns above can be erased without breaking it.
    salt        BLOB,
    digest      BLOB,
    chain_day   TEXT,
    chain_seq   INTEGER,
    chain_hash  BLOB
);
CREATE UNIQUE INDEX exportops_deletions_open ON exportops_deletions (store, bucket, key) WHERE state = 'claimed';
CREATE INDEX exportops_deletions_export ON exportops_deletions (export_id);
CREATE INDEX exportops_deletions_failed ON exportops_deletions (state) WHERE state IN ('failed', 'quarantined');
CREATE UNIQUE INDEX exportops_deletions_chain ON exportops_deletions (chain_day, chain_seq) WHERE chain_day IS NOT NULL;

-- +goose Down
DROP TABLE exportops_deletions;
DROP TABLE exportops_schedules;
DROP TABLE exportops_run_keys;
DROP TABLE exportops_runs;
DROP TABLE exportops_rollup_errors;
DROP TABLE exportops_rollup_users;
DROP TABLE exportops_rollups;
DROP TABLE exportops_rollup_days;
DROP TABLE exportops_rollup_hours;
DROP TABLE exportops_export_metrics;
