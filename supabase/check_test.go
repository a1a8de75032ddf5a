package supabase_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/supabase"
)

func TestCheckLooksUnderThePrefixAlone(t *testing.T) {
	for name, c := range map[string]struct {
		prefix string
		keys   []string
		empty  bool
	}{
		"nothing":                      {"", nil, true},
		"a_file":                       {"", []string{"a"}, false},
		"a_file_in_a_folder":           {"", []string{"u/v/a"}, false},
		"the_dashboards_placeholder":   {"", []string{"u/.emptyFolderPlaceholder"}, false},
		"an_abandoned_probe":           {"", []string{".exportops-probe-ABC"}, true},
		"under_the_prefix":             {"out/in", []string{"out/in/a"}, false},
		"deep_under_the_prefix":        {"out/in/", []string{"out/in/u/v/a"}, false},
		"beside_the_prefix":            {"out", []string{"outer/a", "out.json", "a"}, true},
		"above_the_prefix":             {"out/in", []string{"out/a"}, true},
		"a_probe_under_the_prefix":     {"out", []string{"out/.exportops-probe-ABC"}, true},
		"the_marker":                   {"out", []string{"out/.exportops-root"}, false},
		"in_capitals":                  {"out", []string{"OUT/a", "Out/u/v/b"}, true},
		"as_a_pattern":                 {"o_t", []string{"out/a", "oxt/u/b"}, true},
		"as_a_pattern_and_as_it_is":    {"o_t", []string{"out/a", "o_t/u/b"}, false},
		"many_probes_before_something": {"", append(numbered(".exportops-probe-", 1500), "a"), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStorage()
				s.put(c.keys...)
				empty, err := inMemory(t, s, supabase.Options{Prefix: c.prefix}).Check(t.Context())
				if empty != c.empty || err != nil {
					t.Errorf("Check = %v, %v, want %v", empty, err, c.empty)
				}
			})
		})
	}
}

func numbered(prefix string, n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprintf("%s%04d", prefix, i))
	}
	return keys
}

func TestAFailedListIsNotEmpty(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter){
		"an_error":      func(w http.ResponseWriter) { refuse(w, 500, "DatabaseError", "it broke") },
		"a_page":        func(w http.ResponseWriter) { page(200)(w, nil, nil) },
		"an_object":     func(w http.ResponseWriter) { reply(w, map[string]string{"message": "none"}) },
		"not_permitted": func(w http.ResponseWriter) { refuse(w, 403, "Unauthorized", "no") },
		"a_gateways":    func(w http.ResponseWriter) { page(404)(w, nil, nil) },
		"cut":           func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		bubble(t, name, func(t *testing.T, s *storage, store *supabase.Store) {
			s.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				listing := strings.Contains(r.URL.Path, "/list/")
				if listing {
					answer(w)
				}
				return listing
			}
			if empty, err := store.Check(t.Context()); empty || !exportops.IsKind(err, exportops.KindUnavailable) {
				t.Errorf("Check = %v, %v, want an error", empty, err)
			}
		})
	}
	bubble(t, "a_bucket_that_goes_meanwhile", func(t *testing.T, s *storage, store *supabase.Store) {
		s.fault = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
			if strings.Contains(r.URL.Path, "/list/") {
				s.mu.Lock()
				s.gone = true
				s.mu.Unlock()
			}
			return false
		}
		if empty, err := store.Check(t.Context()); !errors.Is(err, exportops.ErrRootMissing) {
			t.Errorf("Check = %v, %v, want ErrRootMissing", empty, err)
		}
	})
}

func TestKeysOutsideThePrefixAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStorage()
		refused := []string{"a", "outer/a", "out", "OUT/a", "out/.exportops-root", "out/.EXPORTOPS-x/a", "out/" + strings.Repeat("n", 1021)}
		s.put(refused...)
		s.put("out/a", "out/u/.exportops-root")
		store := inMemory(t, s, supabase.Options{Prefix: "out"})
		results, err := store.Delete(t.Context(), refs(refused...))
		check(t, err)
		infos, err := store.Stat(t.Context(), refused)
		check(t, err)
		for i, key := range refused {
			if results[i].Removal != exportops.Unproven || !errors.Is(results[i].Err, exportops.ErrBadKey) || !errors.Is(infos[i].Err, exportops.ErrBadKey) {
				t.Errorf("%.30q: %+v and %+v, want ErrBadKey", key, results[i], infos[i])
			}
		}
		expect(t, store, []string{"out/a", "out/u/.exportops-root"}, exportops.Removed, exportops.Removed)
		if got := s.keys(); len(got) != len(refused) {
			t.Errorf("left: %.300q", got)
		}
	})
}

func TestProbeSaysWhatIsNotPermitted(t *testing.T) {
	for name, c := range map[string]struct {
		matches func(*http.Request) bool
		says    string
	}{
		"write": {func(r *http.Request) bool { return r.Method == http.MethodPost }, "write an object"},
		"read": {func(r *http.Request) bool {
			return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "object/exports")
		}, "read an object"},
		"delete": {isRemoval, "delete an object"},
	} {
		bubble(t, name, func(t *testing.T, s *storage, store *supabase.Store) {
			s.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				if !c.matches(r) {
					return false
				}
				refuse(w, 403, "Unauthorized", "new row violates row-level security policy")
				return true
			}
			err := store.Probe(t.Context())
			if !exportops.IsKind(err, exportops.KindUnavailable) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Probe: %v, want it to say %q", err, c.says)
			}
			if left := s.keys(); name != "delete" && len(left) != 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
	bubble(t, "delete_that_is_ignored", func(t *testing.T, s *storage, store *supabase.Store) {
		s.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if isRemoval(r) {
				reply(w, []any{})
			}
			return isRemoval(r)
		}
		if err := store.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "delete an object") {
			t.Errorf("Probe: %v", err)
		}
	})
	bubble(t, "delete_that_is_not_answered_for", func(t *testing.T, s *storage, store *supabase.Store) {
		s.fault = firstRemovals(1, func(w http.ResponseWriter, r *http.Request, body []byte) {
			s.answer(discard{}, r, body)
			reply(w, []any{})
		})
		if err := store.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "did not say") {
			t.Errorf("Probe: %v", err)
		}
	})
	bubble(t, "read_that_gives_something_else", func(t *testing.T, s *storage, store *supabase.Store) {
		s.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			reading := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "object/exports")
			if reading {
				fmt.Fprint(w, "else")
			}
			return reading
		}
		if err := store.Probe(t.Context()); err == nil || len(s.keys()) != 0 {
			t.Errorf("Probe: %v, and %q is left", err, s.keys())
		}
	})
	bubble(t, "nothing_after_a_lost_answer", func(t *testing.T, s *storage, store *supabase.Store) {
		s.fault = firstRemovals(1, func(_ http.ResponseWriter, r *http.Request, body []byte) {
			s.answer(discard{}, r, body)
			panic(http.ErrAbortHandler)
		})
		if err := store.Probe(t.Context()); err != nil {
			t.Errorf("Probe: %v", err)
		}
	})
}
