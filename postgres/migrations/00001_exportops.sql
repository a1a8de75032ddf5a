-- +goose Up

-- What one attempt of an export measured.
CREATE TABLE exportops.export_metrics (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    export_id          uuid        NOT NULL,
    user_id            uuid        NOT NULL,
    format             text        NOT NULL,
    status             text        NOT NULL CHECK (status IN ('queued', 'processing', 'completed', 'failed')),
    attempt            bigint      NOT NULL CHECK (attempt >= 1),
    source             text        NOT NULL CHECK (source IN ('measured', 'observed')),
    conversation_count bigint      NOT NULL,
    duration_ms        bigint,
    file_size_bytes    bigint,
    error_type         text,
    error_message      text,
    timestamp          timestamptz NOT NULL,
    received_at        timestamptz NOT NULL,
    -- True for the one metric that its export counts as: the latest terminal
    -- one, else the latest of progress.
    outcome            boolean     NOT NULL DEFAULT false,
    -- The hour whose rollup holds this outcome, or will when it is computed
    -- again: the rollup of an hour is what the metrics with this value add up
    -- to. Null for what is no outcome or not finished.
    counted_hour       timestamptz,
    UNIQUE (export_id, status, attempt)
);
CREATE INDEX export_metrics_timestamp ON exportops.export_metrics (timestamp) WHERE outcome;
CREATE INDEX export_metrics_counted ON exportops.export_metrics (counted_hour) WHERE counted_hour IS NOT NULL;
CREATE INDEX export_metrics_progress ON exportops.export_metrics (timestamp)
    WHERE outcome AND status IN ('queued', 'processing');

-- What is known of each hour's rollup. A version rises with every change of the
-- hour, so that a rollup computed from older metrics is not taken for a clean
-- one. Every counted_hour has a row here.
CREATE TABLE exportops.rollup_hours (
    start   timestamptz PRIMARY KEY,
    version bigint      NOT NULL DEFAULT 0,
    clean   boolean     NOT NULL DEFAULT false,
    sealed  boolean     NOT NULL DEFAULT false,
    open    bigint      NOT NULL DEFAULT 0
);
CREATE INDEX rollup_hours_stale ON exportops.rollup_hours (start) WHERE NOT clean OR open > 0;

CREATE TABLE exportops.rollup_days (
    start timestamptz PRIMARY KEY
);

CREATE TABLE exportops.rollups (
    period          text        NOT NULL CHECK (period IN ('hourly', 'daily')),
    start           timestamptz NOT NULL,
    format          text        NOT NULL,
    count_range     text        NOT NULL,
    completed       bigint      NOT NULL,
    failed          bigint      NOT NULL,
    duration_count  bigint      NOT NULL,
    duration_sum    bigint      NOT NULL,
    duration_max    bigint      NOT NULL,
    duration_sketch bytea,
    size_count      bigint      NOT NULL,
    size_sum        bigint      NOT NULL,
    size_max        bigint      NOT NULL,
    size_sketch     bytea,
    PRIMARY KEY (period, start, format, count_range)
);

CREATE TABLE exportops.rollup_users (
    start   timestamptz NOT NULL,
    user_id uuid        NOT NULL,
    exports bigint      NOT NULL,
    PRIMARY KEY (start, user_id)
);

CREATE TABLE exportops.rollup_errors (
    start      timestamptz NOT NULL,
    error_type text        NOT NULL,
    exports    bigint      NOT NULL,
    PRIMARY KEY (start, error_type)
);

-- Runs of jobs, and slots that had none. Parameters and results are the text
-- that they were given as.
CREATE TABLE exportops.runs (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          text        NOT NULL UNIQUE,
    job         text        NOT NULL,
    lane        text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('running', 'done', 'partial', 'failed', 'refused', 'skipped', 'missed')),
    trigger     text        NOT NULL,
    slot        timestamptz,
    params      json        NOT NULL,
    forced      boolean     NOT NULL DEFAULT false,
    holder      text        NOT NULL,
    token       bigint      NOT NULL,
    takeovers   integer     NOT NULL DEFAULT 0,
    lease_until timestamptz,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    result      json,
    error       text        NOT NULL DEFAULT '',
    closing     boolean     NOT NULL DEFAULT false -- its holder has come to its end
);
CREATE UNIQUE INDEX runs_active ON exportops.runs (lane) WHERE state = 'running';
CREATE UNIQUE INDEX runs_slot ON exportops.runs (job, slot) WHERE slot IS NOT NULL;
CREATE INDEX runs_finished ON exportops.runs (job, finished_at);

-- Processes that help the holder of a run, each with claims of its own.
CREATE TABLE exportops.workers (
    run_id      text        NOT NULL,
    token       bigint      NOT NULL, -- below zero, where the holder's is above
    holder      text        NOT NULL,
    lease_until timestamptz NOT NULL,
    left_at     timestamptz,
    result      json,
    PRIMARY KEY (run_id, token)
);

-- Which run answers the calls with an Idempotency-Key: one may answer several.
CREATE TABLE exportops.run_keys (
    key     text        PRIMARY KEY,
    run_id  text        NOT NULL,
    used_at timestamptz NOT NULL
);
CREATE INDEX run_keys_used ON exportops.run_keys (used_at);

-- Since when each job has had its schedule: no slot before is due.
CREATE TABLE exportops.schedules (
    job        text        PRIMARY KEY,
    expression text        NOT NULL,
    since      timestamptz NOT NULL
);

-- The ledger: one file that was to be deleted, with what its claim saw.
CREATE TABLE exportops.deletions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    export_id   uuid,
    user_id     uuid,
    mode        text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('claimed', 'deleted', 'absent', 'failed', 'quarantined', 'changed')),
    store       text        NOT NULL,
    bucket      text        NOT NULL,
    key         text, -- null where the location was refused, or erased
    file_url    text,
    expires_at  timestamptz,
    file_size   bigint,
    row_status  text        NOT NULL,
    run_id      text        NOT NULL,
    token       bigint      NOT NULL,
    attempts    integer     NOT NULL,
    failures    integer     NOT NULL DEFAULT 0,
    bytes       bigint      NOT NULL DEFAULT 0,
    evidence    text        NOT NULL DEFAULT '',
    error       text        NOT NULL DEFAULT '',
    claimed_at  timestamptz NOT NULL,
    finished_at timestamptz,
    next_try_at timestamptz, -- null where it is not to be tried again
    -- The day's hash chain commits to a salted digest of what identifies the
    -- entry, so that the columns above can be erased without breaking it.
    salt        bytea,
    digest      bytea,
    chain_day   date,
    chain_seq   bigint,
    chain_hash  bytea
);
CREATE UNIQUE INDEX deletions_open ON exportops.deletions (store, bucket, key) WHERE state = 'claimed';
CREATE INDEX deletions_export ON exportops.deletions (export_id, id);
CREATE INDEX deletions_failed ON exportops.deletions (state) WHERE state IN ('failed', 'quarantined');
CREATE UNIQUE INDEX deletions_chain ON exportops.deletions (chain_day, chain_seq) WHERE chain_day IS NOT NULL;

-- +goose Down
DROP TABLE exportops.deletions, exportops.schedules, exportops.run_keys, exportops.workers, exportops.runs, exportops.rollup_errors,
    exportops.rollup_users, exportops.rollups, exportops.rollup_days, exportops.rollup_hours, exportops.export_metrics;
