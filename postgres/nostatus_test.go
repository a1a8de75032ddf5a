package postgres

import (
	"testing"

	"github.com/exportops/exportops"
)

// A table of the application's may let a row have no status. Such a row names its file
// all the same.
func TestARowWithoutAStatus(t *testing.T) {
	url := newDatabase(t)
	run(t, url, `ALTER TABLE public.export_logs ALTER status DROP NOT NULL`,
		`INSERT INTO public.export_logs (export_id, user_id, timestamp, format, config, conversation_count, status, file_url)
			VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'csv', '{}', 1, NULL, 'k')`)
	s := openStore(t, url)
	for row, err := range s.NamedFiles(t.Context(), exportops.Time{}) {
		if err != nil || row.FileURL != "k" {
			t.Fatalf("%+v, %v", row, err)
		}
	}
}
