-- Fills a migrated database for compare.sh: @rows old log rows whose files are
-- gone, as the ledger says, and @files exports that have expired.
PRAGMA synchronous = OFF;
PRAGMA secure_delete = OFF;
PRAGMA cache_size = -200000;
BEGIN;
DROP INDEX export_logs_user_id;
DROP INDEX export_logs_timestamp;
DROP INDEX export_logs_status;
DROP INDEX export_logs_format;
DROP INDEX export_logs_expires_at;
DROP INDEX exportops_deletions_export;

-- Random ids, as applications have them: rows made one after the other lie far
-- apart in every index of ids.
CREATE TEMP TABLE people (i INTEGER PRIMARY KEY, id TEXT);
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 49999)
INSERT INTO people
SELECT i, lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a'
    || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))) FROM n;
CREATE TEMP TABLE made (i INTEGER PRIMARY KEY, r INTEGER, at INTEGER, id TEXT);
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < @rows + @files - 1)
INSERT INTO made
SELECT i, abs(random()) % 1000000,
    -- From 61 to 31 days ago; the files' exports two days ago.
    1000 * CAST(strftime('%s', 'now') AS INTEGER) - CASE WHEN i < @rows
        THEN 61 * 86400000 - i * (30 * 86400000 / max(@rows, 1)) ELSE 172800000 - i % 1000 END,
    lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a'
    || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))) FROM n;

INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, file_size, status, file_url,
    expires_at, error_message, created_at, updated_at)
SELECT m.id, p.id, strftime('%Y-%m-%dT%H:%M:%fZ', m.at / 1000.0, 'unixepoch'),
    CASE m.i % 4 WHEN 0 THEN 'json' WHEN 1 THEN 'jsonl' WHEN 2 THEN 'csv' ELSE 'markdown' END,
    '{"scope":"all","format":"json","includeMetadata":true}', m.r % 1500,
    CASE WHEN m.i >= @rows THEN 512 WHEN m.r % 20 > 0 THEN m.r * 7 END,
    CASE WHEN m.i >= @rows THEN 'completed' WHEN m.r % 20 = 0 THEN 'failed' ELSE 'expired' END,
    CASE WHEN m.i >= @rows THEN 'user-' || (m.i % 100) || '/' || m.id || '.json' WHEN m.r % 20 > 0 THEN m.id || '.json' END,
    CASE WHEN m.i >= @rows OR m.r % 20 > 0 THEN strftime('%Y-%m-%dT%H:%M:%fZ', m.at / 1000.0 + 86400, 'unixepoch') END,
    CASE WHEN m.i < @rows AND m.r % 20 = 0 THEN 'TimeoutError: it took too long' END,
    strftime('%Y-%m-%dT%H:%M:%fZ', m.at / 1000.0, 'unixepoch'),
    strftime('%Y-%m-%dT%H:%M:%fZ', (m.at + 100 + m.r % 9000) / 1000.0, 'unixepoch')
FROM made m JOIN people p ON p.i = m.r % 50000 ORDER BY m.i;
INSERT INTO exportops_deletions (export_id, user_id, mode, state, store, bucket, key, file_url, expires_at, file_size,
    row_status, run_id, token, attempts, bytes, evidence, claimed_at, finished_at)
SELECT export_id, user_id, 'expiry', 'deleted', 'file:///exports', 'exports', file_url, file_url, expires_at, file_size,
    'completed', '00000000-0000-4000-8000-000000000000', 1, 1, file_size, 'confirmed', expires_at, expires_at
FROM export_logs WHERE status = 'expired';

CREATE INDEX export_logs_user_id ON export_logs (user_id);
CREATE INDEX export_logs_timestamp ON export_logs (timestamp DESC);
CREATE INDEX export_logs_status ON export_logs (status);
CREATE INDEX export_logs_format ON export_logs (format);
CREATE INDEX export_logs_expires_at ON export_logs (expires_at);
CREATE INDEX exportops_deletions_export ON exportops_deletions (export_id);
COMMIT;
PRAGMA wal_checkpoint(TRUNCATE);
