-- Fills a migrated database for compare-servers.sh: exports that have expired,
-- as many as there are objects.
INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, file_size, status,
    file_url, expires_at, created_at, updated_at)
SELECT gen_random_uuid(), gen_random_uuid(), now() - interval '2 days', 'json', '{"scope":"all"}', i % 1500, 512, 'completed',
    'user-' || i % 100 || '/' || i || '.json', now() - interval '1 day' + i * interval '1 ms',
    now() - interval '2 days', now() - interval '2 days' + interval '2 s'
FROM generate_series(0, :files - 1) i;
VACUUM ANALYZE export_logs;
