-- Where users are Supabase's: a user sees and writes the rows that are theirs,
-- and nobody but a role that bypasses row level security deletes.
ALTER TABLE {logs} ADD FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE;
ALTER TABLE {logs} ENABLE ROW LEVEL SECURITY;
CREATE POLICY {name:select_own} ON {logs} FOR SELECT USING (user_id = (SELECT auth.uid()));
CREATE POLICY {name:insert_own} ON {logs} FOR INSERT WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY {name:update_own} ON {logs} FOR UPDATE USING (user_id = (SELECT auth.uid()))
    WITH CHECK (user_id = (SELECT auth.uid()));
