-- The application's table, made only where it is missing.
CREATE TABLE export_logs (
    id                 uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    export_id          uuid        NOT NULL UNIQUE,
    user_id            uuid        NOT NULL,
    timestamp          timestamptz NOT NULL,
    format             text        NOT NULL CHECK (format IN ('json', 'jsonl', 'csv', 'markdown')),
    config             jsonb       NOT NULL,
    conversation_count integer     NOT NULL CHECK (conversation_count >= 0),
    file_size          bigint      CHECK (file_size >= 0),
    status             text        NOT NULL DEFAULT 'queued'
                                   CHECK (status IN ('queued', 'processing', 'completed', 'failed', 'expired')),
    file_url           text,
    expires_at         timestamptz,
    error_message      text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    downloaded_count   integer     DEFAULT 0
);
CREATE INDEX export_logs_user_id ON export_logs (user_id);
CREATE INDEX export_logs_timestamp ON export_logs (timestamp DESC);
CREATE INDEX export_logs_status ON export_logs (status);
CREATE INDEX export_logs_format ON export_logs (format);
CREATE INDEX export_logs_expires_at ON export_logs (expires_at);
