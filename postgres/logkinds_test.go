package postgres

import (
	"testing"

	"github.com/exportops/exportops"
)

// TestLogRowsOfEveryKindOfTable deletes rows where a row's place says less than it
// does in a plain table, and finds those again that were changed since.
func TestLogRowsOfEveryKindOfTable(t *testing.T) {
	for name, statements := range map[string][]string{
		"a_plain_table": nil,
		"a_view": {
			`ALTER TABLE public.export_logs RENAME TO kept`,
			`CREATE VIEW public.export_logs AS SELECT * FROM public.kept`,
		},
		"a_table_in_partitions": { // each has a first place
			`CREATE TABLE public.parts (LIKE public.export_logs INCLUDING DEFAULTS) PARTITION BY HASH (id)`,
			`CREATE TABLE public.part_0 PARTITION OF public.parts FOR VALUES WITH (MODULUS 2, REMAINDER 0)`,
			`CREATE TABLE public.part_1 PARTITION OF public.parts FOR VALUES WITH (MODULUS 2, REMAINDER 1)`,
			`DROP TABLE public.export_logs`,
			`ALTER TABLE public.parts RENAME TO export_logs`,
		},
		"a_table_that_others_inherit": {
			`CREATE TABLE public.heir () INHERITS (public.export_logs)`,
			`CREATE FUNCTION public.divert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF NEW.file_url > 'a/1' AND NEW.file_url < 'a/6' THEN INSERT INTO public.heir SELECT NEW.*; RETURN NULL; END IF;
				RETURN NEW; END $$`,
			`CREATE TRIGGER divert BEFORE INSERT ON public.export_logs FOR EACH ROW EXECUTE FUNCTION public.divert()`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := newDatabase(t)
			run(t, url, statements...)
			w := &world{t, openStore(t, url), openStore(t, url), url}
			w.rolledUp(9)
			rows := w.logRows(9)
			want := make([]bool, len(rows))
			for i := range want {
				want[i] = true
			}
			w.now(`UPDATE public.export_logs SET status = 'processing' WHERE id = $1::uuid`, rows[3].ID)
			w.now(`UPDATE public.export_logs SET expires_at = expires_at + interval '1 microsecond' WHERE id = $1::uuid`, rows[5].ID)
			want[3], want[5] = false, false
			w.wantGone(rows, w.deleteRows(w.begin(w.a, exportops.LogCleanup, noon), rows), want...)
		})
	}
}
