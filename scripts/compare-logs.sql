-- Fills a migrated database for compare-servers.sh: old log rows whose files are
-- gone, as the ledger says.
INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, file_size, status, file_url,
    expires_at, error_message, created_at, updated_at)
SELECT gen_random_uuid(), md5((i % 50000)::text)::uuid, at, (ARRAY['json', 'jsonl', 'csv', 'markdown'])[i % 4 + 1],
    '{"scope":"all","format":"json","includeMetadata":true}', i::bigint * 7919 % 1500,
    CASE WHEN i % 20 > 0 THEN i % 100000 END, CASE WHEN i % 20 = 0 THEN 'failed' ELSE 'expired' END,
    CASE WHEN i % 20 > 0 THEN i || '.json' END, CASE WHEN i % 20 > 0 THEN at + interval '1 day' END,
    CASE WHEN i % 20 = 0 THEN 'TimeoutError: it took too long' END, at, at + i % 9000 * interval '1 ms'
FROM generate_series(0, :rows - 1) i,
    LATERAL (SELECT now() - interval '61 days' + i * (interval '30 days' / :rows) AS at) t;
INSERT INTO exportops.deletions (export_id, user_id, mode, state, store, bucket, key, file_url, expires_at, file_size,
    row_status, run_id, token, attempts, bytes, evidence, claimed_at, finished_at)
SELECT export_id, user_id, 'expiry', 'deleted', 's3://exports', 'exports', file_url, file_url, expires_at, file_size,
    'completed', '00000000-0000-4000-8000-000000000000', 1, 1, file_size, 'confirmed', expires_at, expires_at
FROM export_logs WHERE status = 'expired';
VACUUM ANALYZE;
