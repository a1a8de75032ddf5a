package exportops_test

import (
	"context"
	"testing"

	"github.com/exportops/exportops"
)

// entries is a ledger of n failed entries, numbered from 1.
type entries int64

func (n entries) Deletions(_ context.Context, f exportops.DeletionFilter) (page []exportops.Deletion, _ error) {
	for id := int64(n); id > 0 && len(page) < f.Limit; id-- {
		if (f.Before == 0 || id < f.Before) && (f.ID == 0 || f.ID == id) {
			page = append(page, exportops.Deletion{ID: id, State: exportops.DeletionFailed})
		}
	}
	return page, nil
}

func TestLedgerPages(t *testing.T) {
	for _, n := range []entries{0, 1, 3, 4, 6} {
		var got []int64
		for cursor, pages := "", 0; ; pages++ {
			page, next, err := exportops.DeletionPage(t.Context(), n, exportops.DeletionFilter{Limit: 3}, cursor)
			if err != nil || page == nil || pages > 2 || (next != "" && len(page) != 3) {
				t.Fatalf("%d entries, page %d: %v %q %v", n, pages, page, next, err)
			}
			for _, d := range page {
				got = append(got, d.ID)
			}
			if cursor = next; next == "" {
				break
			}
			if len(got) == int(n) {
				t.Fatalf("of %d entries there is no more, but a cursor", n)
			}
		}
		if len(got) != int(n) {
			t.Fatalf("%d entries are listed as %v", n, got)
		}
	}
	for _, cursor := range []string{"x", "0", "-1", "1.5"} {
		if _, _, err := exportops.DeletionPage(t.Context(), entries(1), exportops.DeletionFilter{}, cursor); !exportops.IsKind(err, exportops.KindInvalid) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

func TestLedgerEntryByNumber(t *testing.T) {
	if d, err := exportops.DeletionByID(t.Context(), entries(3), 2); err != nil || d.ID != 2 || d.NextStep != "the next run tries again" {
		t.Errorf("%+v %v", d, err)
	}
	for _, id := range []int64{0, -1, 4} {
		if _, err := exportops.DeletionByID(t.Context(), entries(3), id); !exportops.IsKind(err, exportops.KindNotFound) {
			t.Errorf("entry %d: %v", id, err)
		}
	}
}
