ALTER TABLE {logs} ADD FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE;
ALTER TABLE {logs} ENABLE ROW LEVEL SECURITY;
CREATE POLICY "users see their own exports" ON {logs} FOR SELECT USING (user_id = auth.uid());
CREATE POLICY "users add their own exports" ON {logs} FOR INSERT WITH CHECK (user_id = auth.uid());
CREATE POLICY "users change their own exports" ON {logs} FOR UPDATE
    USING (user_id = auth.uid()) WITH CHECK (user_id = auth.uid());
