-- The application's table, made only where it is missing. {logs} is its name,
-- {name} what the names of its indexes begin with, {touch} the function of its
-- trigger.
CREATE TABLE {logs} (
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
CREATE INDEX {name:user_id} ON {logs} (user_id);
CREATE INDEX {name:timestamp} ON {logs} (timestamp DESC);
CREATE INDEX {name:status} ON {logs} (status);
CREATE INDEX {name:format} ON {logs} (format);
CREATE INDEX {name:expires_at} ON {logs} (expires_at);

-- An update that sets updated_at itself keeps what it set.
CREATE FUNCTION {touch}() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER {name:updated_at} BEFORE UPDATE ON {logs}
    FOR EACH ROW EXECUTE FUNCTION {touch}();
