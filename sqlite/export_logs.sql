-- The application's table, made only where it is missing.
CREATE TABLE export_logs (
    id                 TEXT    PRIMARY KEY NOT NULL DEFAULT (lower(
                           hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2)
                           || '-' || substr('89ab', 1 + (abs(random()) % 4), 1) || substr(hex(randomblob(2)), 2)
                           || '-' || hex(randomblob(6)))),
    export_id          TEXT    NOT NULL UNIQUE,
    user_id            TEXT    NOT NULL,
    timestamp          TEXT    NOT NULL,
    format             TEXT    NOT NULL CHECK (format IN ('json', 'jsonl', 'csv', 'markdown')),
    config             TEXT    NOT NULL,
    conversation_count INTEGER NOT NULL CHECK (conversation_count >= 0),
    file_size          INTEGER CHECK (file_size >= 0),
    status             TEXT    NOT NULL DEFAULT 'queued'
                               CHECK (status IN ('queued', 'processing', 'completed', 'failed', 'expired')),
    file_url           TEXT,
    expires_at         TEXT,
    error_message      TEXT,
    created_at         TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    updated_at         TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    downloaded_count   INTEGER DEFAULT 0
);
CREATE INDEX export_logs_user_id ON export_logs (user_id);
CREATE INDEX export_logs_timestamp ON export_logs (timestamp DESC);
CREATE INDEX export_logs_status ON export_logs (status);
CREATE INDEX export_logs_format ON export_logs (format);
CREATE INDEX export_logs_expires_at ON export_logs (expires_at);

-- An update that sets updated_at itself is not written twice.
CREATE TRIGGER export_logs_updated_at AFTER UPDATE ON export_logs
WHEN NEW.updated_at IS OLD.updated_at
BEGIN
    UPDATE export_logs SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = NEW.id;
END;
