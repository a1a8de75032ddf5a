package supabase_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/supabase"
)

// bubble runs a test against a server in memory, on a clock of its own.
func bubble(t *testing.T, name string, tell func(t *testing.T, s *storage, store *supabase.Store)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newStorage()
			tell(t, s, inMemory(t, s, supabase.Options{}))
		})
	})
}

func refs(keys ...string) []exportops.FileRef {
	r := make([]exportops.FileRef, len(keys))
	for i, key := range keys {
		r[i].Key = key
	}
	return r
}

func expect(t *testing.T, store *supabase.Store, keys []string, want ...exportops.Removal) []exportops.FileResult {
	t.Helper()
	results, err := store.Delete(t.Context(), refs(keys...))
	if err != nil {
		t.Fatalf("Delete: %v", err)
	}
	got := make([]exportops.Removal, len(results))
	for i, r := range results {
		if got[i] = r.Removal; (r.Err != nil) != (r.Removal == exportops.Unproven) {
			t.Errorf("%s: %s, %v", keys[i], r.Removal, r.Err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	return results
}

// expectUnavailable fails unless the whole call does, and returns its error.
func expectUnavailable(t *testing.T, store *supabase.Store, keys ...string) string {
	t.Helper()
	results, err := store.Delete(t.Context(), refs(keys...))
	var e *exportops.Error
	if !errors.As(err, &e) || e.Kind != exportops.KindUnavailable || e.Hint == "" {
		t.Fatalf("Delete = %+v, %v, want it to be unavailable, with a hint", results, err)
	}
	return err.Error()
}

func isRemoval(r *http.Request) bool {
	return r.Method == http.MethodDelete && strings.HasPrefix(r.URL.Path, "/storage/v1/object/")
}

// firstRemovals answers the first n removals.
func firstRemovals(n int32, answer func(w http.ResponseWriter, r *http.Request, body []byte)) func(http.ResponseWriter, *http.Request, []byte) bool {
	var seen atomic.Int32
	return func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		if !isRemoval(r) || seen.Add(1) > n {
			return false
		}
		answer(w, r, body)
		return true
	}
}

// hangUp cuts the connection.
func hangUp(http.ResponseWriter, *http.Request, []byte) { panic(http.ErrAbortHandler) }

func page(status int) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		fmt.Fprint(w, "<html>upstream</html>")
	}
}

const forever = 1 << 20

func TestDeleteBelievesOnlyNamesThatComeBack(t *testing.T) {
	bubble(t, "what_is_not_named_and_still_there_has_failed", func(t *testing.T, s *storage, store *supabase.Store) {
		s.put("a", "kept")
		s.fault = firstRemovals(1, func(w http.ResponseWriter, r *http.Request, _ []byte) {
			s.answer(w, r, []byte(`{"prefixes":["a"]}`))
		})
		r := expect(t, store, []string{"a", "kept", "gone"}, exportops.Removed, exportops.Unproven, exportops.Absent)
		if r[0].Bytes != int64(len("content of a")) || r[2].Bytes != 0 {
			t.Errorf("bytes freed: %d and %d", r[0].Bytes, r[2].Bytes)
		}
	})
	bubble(t, "other_names_say_nothing", func(t *testing.T, s *storage, store *supabase.Store) {
		s.put("a", "u/b")
		s.fault = firstRemovals(1, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			reply(w, []map[string]any{{"name": "A"}, {"name": "b"}, {"name": "a/"}, {"name": ""}, {"name": "a", "bucket_id": "another"}})
		})
		expect(t, store, []string{"a", "u/b", "c"}, exportops.Unproven, exportops.Unproven, exportops.Absent)
	})
	for name, answer := range map[string]string{"null": `null`, "nothing": `[]`, "no_metadata": `[{"name":"gone","metadata":null}]`} {
		bubble(t, "takes_"+name, func(t *testing.T, s *storage, store *supabase.Store) {
			s.put("a")
			s.fault = firstRemovals(1, func(w http.ResponseWriter, _ *http.Request, _ []byte) { fmt.Fprint(w, answer) })
			expect(t, store, []string{"a"}, exportops.Unproven)
		})
	}
	bubble(t, "another_object_is_not_taken_for_it", func(t *testing.T, s *storage, store *supabase.Store) {
		s.put("b")
		s.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			looking := strings.Contains(r.URL.Path, "/info/")
			if looking {
				reply(w, map[string]any{"name": "b", "size": 1, "last_modified": "2026-01-01T00:00:00Z"})
			}
			return looking
		}
		infos, err := store.Stat(t.Context(), []string{"a"})
		if err != nil || infos[0].Err == nil {
			t.Errorf("Stat = %+v, %v, want it to be unknown", infos, err)
		}
	})
	bubble(t, "a_missing_bucket_is_not_an_absent_file", func(t *testing.T, s *storage, store *supabase.Store) {
		s.gone = true
		if expectUnavailable(t, store, "a"); s.removals() != 1 {
			t.Errorf("%d removals were asked for", s.removals())
		}
		if _, err := store.Stat(t.Context(), []string{"a"}); !errors.Is(err, exportops.ErrRootMissing) {
			t.Errorf("Stat: %v, want ErrRootMissing", err)
		}
	})
	bubble(t, "not_found_from_a_gateway_is_not_an_absent_file", func(t *testing.T, s *storage, store *supabase.Store) {
		for _, answer := range []func(http.ResponseWriter, *http.Request, []byte){page(404), func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.WriteHeader(http.StatusNotFound)
			reply(w, map[string]any{"statusCode": 404, "error": "Not Found", "message": "Route GET:/object/info/a not found"})
		}} {
			s.fault = func(w http.ResponseWriter, r *http.Request, body []byte) bool {
				if strings.Contains(r.URL.Path, "/info/") {
					answer(w, r, body)
					return true
				}
				return false
			}
			expect(t, store, []string{"a"}, exportops.Unproven)
			infos, err := store.Stat(t.Context(), []string{"a"})
			if err != nil || !infos[0].Exists || infos[0].Err == nil {
				t.Errorf("Stat = %+v, %v, want it to be unknown", infos, err)
			}
		}
	})
}

func TestDeleteTriesAgain(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request, []byte){
		"after_a_cut_connection": hangUp, "after_an_error_page": page(502), "after_a_page_that_seems_fine": page(200),
		"after_a_database_timeout": func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			refuse(w, 544, "DatabaseTimeout", "The connection to the database timed out")
		},
		"after_half_an_answer": func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `[{"name":"a"},`)
		},
		"after_a_huge_answer": func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			fmt.Fprint(w, "[]") // what was read of it must not pass for all of it
			block := []byte(strings.Repeat(" ", 1<<20))
			for range 17 {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		},
		"after_a_slow_answer": func(_ http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() },
	} {
		bubble(t, name, func(t *testing.T, s *storage, store *supabase.Store) {
			s.put("a", "b", "c")
			s.fault = firstRemovals(1, answer)
			expect(t, store, []string{"a", "b", "c"}, exportops.Removed, exportops.Removed, exportops.Removed)
		})
		bubble(t, name+"_and_gives_up_in_time", func(t *testing.T, s *storage, store *supabase.Store) {
			s.put("a", "b")
			s.fault = func(w http.ResponseWriter, r *http.Request, body []byte) bool { answer(w, r, body); return true }
			began := time.Now()
			message := expectUnavailable(t, store, "a", "b")
			if took := time.Since(began); took > 10*time.Minute || strings.Contains(message, "<html>") {
				t.Errorf("after %s: %s", took, message)
			}
		})
	}
	bubble(t, "absence_after_a_lost_answer_is_our_doing", func(t *testing.T, s *storage, store *supabase.Store) {
		s.put("a", "b")
		s.fault = firstRemovals(1, func(_ http.ResponseWriter, r *http.Request, body []byte) {
			s.answer(discard{}, r, body)
			panic(http.ErrAbortHandler)
		})
		expect(t, store, []string{"a", "b"}, exportops.Removed, exportops.Removed)
	})
	bubble(t, "absence_after_a_refusal_is_not", func(t *testing.T, s *storage, store *supabase.Store) {
		s.put("a")
		s.fault = firstRemovals(2, func(w http.ResponseWriter, _ *http.Request, _ []byte) { refuse(w, 429, "SlowDown", "slow down") })
		expect(t, store, []string{"a", "gone"}, exportops.Removed, exportops.Absent)
	})
	bubble(t, "as_late_as_the_server_asks", func(t *testing.T, s *storage, store *supabase.Store) {
		s.put("a")
		s.fault = firstRemovals(1, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("Retry-After", "17")
			refuse(w, 503, "SlowDown", "slow down")
		})
		began := time.Now()
		expect(t, store, []string{"a"}, exportops.Removed)
		if took := time.Since(began); took < 17*time.Second || took > 18*time.Second {
			t.Errorf("it took %s, want the server's 17 s", took)
		}
	})
	bubble(t, "not_when_that_is_too_late", func(t *testing.T, s *storage, store *supabase.Store) {
		s.fault = firstRemovals(forever, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		})
		began := time.Now()
		if expectUnavailable(t, store, "a"); time.Since(began) > time.Second || s.removals() != 1 {
			t.Errorf("it took %s and %d removals", time.Since(began), s.removals())
		}
	})
}

// discard is an answer that nobody gets.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

func TestDeleteEndsWithItsContext(t *testing.T) {
	bubble(t, "during_a_request", func(t *testing.T, s *storage, store *supabase.Store) {
		s.fault = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool { <-r.Context().Done(); return true }
		expectEnd(t, store)
	})
	bubble(t, "during_a_pause", func(t *testing.T, s *storage, store *supabase.Store) {
		s.fault = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		expectEnd(t, store)
	})
}

func expectEnd(t *testing.T, store *supabase.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	began := time.Now()
	_, err := store.Delete(ctx, refs("a", "b"))
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != 5*time.Second {
		t.Errorf("after %s: %v, want the context's error after 5 s", took, err)
	}
}

func many(n int) (keys []string, removed []exportops.Removal) {
	for i := range n {
		keys, removed = append(keys, fmt.Sprintf("u/%04d.json", i)), append(removed, exportops.Removed)
	}
	return keys, removed
}

func TestDeleteLearnsTheServersLimit(t *testing.T) {
	bubble(t, "from_its_words", func(t *testing.T, s *storage, store *supabase.Store) {
		s.most = 100
		keys, removed := many(1000)
		for _, want := range []int{11, 10} {
			s.forget()
			s.put(keys...)
			if expect(t, store, keys, removed...); s.removals() != want {
				t.Errorf("%d removals were asked for, want %d", s.removals(), want)
			}
		}
	})
	bubble(t, "from_being_too_large", func(t *testing.T, s *storage, store *supabase.Store) {
		s.fault = func(w http.ResponseWriter, r *http.Request, body []byte) bool {
			tooMany := isRemoval(r) && len(prefixes(body)) > 300
			if tooMany {
				page(413)(w, r, body)
			}
			return tooMany
		}
		keys, removed := many(1000)
		for _, want := range []int{6, 4} {
			s.forget()
			s.put(keys...)
			if expect(t, store, keys, removed...); s.removals() != want {
				t.Errorf("%d removals were asked for, want %d", s.removals(), want)
			}
		}
	})
}

func TestDeleteLearnsTheServersPace(t *testing.T) {
	bubble(t, "", func(t *testing.T, s *storage, store *supabase.Store) {
		s.fault = func(_ http.ResponseWriter, r *http.Request, body []byte) bool {
			slow := isRemoval(r) && len(prefixes(body)) > 300
			if slow {
				<-r.Context().Done()
			}
			return slow
		}
		keys, removed := many(1000)
		for _, want := range []int{6, 4} { // 1000, 500, and four of 250
			s.forget()
			s.put(keys...)
			if expect(t, store, keys, removed...); s.removals() != want {
				t.Errorf("%d removals were asked for, want %d", s.removals(), want)
			}
		}
	})
	bubble(t, "but_not_from_a_few_files", func(t *testing.T, s *storage, store *supabase.Store) {
		keys, removed := many(1000)
		s.put(keys...)
		s.fault = firstRemovals(1, func(_ http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() })
		expect(t, store, keys[:50], removed[:50]...)
		synctest.Wait()
		s.behave()
		s.put(keys...)
		if expect(t, store, keys, removed...); s.removals() != 1 {
			t.Errorf("%d removals were asked for, want 1", s.removals())
		}
	})
	bubble(t, "but_not_to_nothing", func(t *testing.T, s *storage, store *supabase.Store) {
		keys, removed := many(1000)
		s.fault = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool { <-r.Context().Done(); return true }
		expectUnavailable(t, store, keys...)
		synctest.Wait()
		s.behave()
		s.put(keys...)
		if expect(t, store, keys, removed...); s.removals() > 10 {
			t.Errorf("%d removals were asked for, want 10 at the most", s.removals())
		}
	})
}

func TestOneBadNameDoesNotStopTheOthers(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"refused": func(w http.ResponseWriter) { refuse(w, 400, "InvalidRequest", "no such thing") },
		"broken":  func(w http.ResponseWriter) { refuse(w, 500, "InternalError", "it broke") },
	} {
		bubble(t, name, func(t *testing.T, s *storage, store *supabase.Store) {
			keys, want := many(64)
			s.put(keys...)
			bad := keys[41]
			s.fault = func(w http.ResponseWriter, r *http.Request, body []byte) bool {
				if !isRemoval(r) || !slices.Contains(prefixes(body), bad) {
					return false
				}
				answer(w)
				return true
			}
			if name == "broken" { // halved three times: eight are left together
				for i := 40; i < 48; i++ {
					want[i] = exportops.Unproven
				}
			} else {
				want[41] = exportops.Unproven
			}
			expect(t, store, keys, want...)
			expect(t, store, []string{bad}, exportops.Unproven)
		})
	}
	bubble(t, "and_refusing_everything_ends_soon", func(t *testing.T, s *storage, store *supabase.Store) {
		s.fault = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool { page(404)(w, nil, nil); return true }
		keys, _ := many(1000)
		if message := expectUnavailable(t, store, keys...); s.removals() > 100 || !strings.Contains(message, "HTTP 404") {
			t.Errorf("%d removals were asked for: %s", s.removals(), message)
		}
	})
}

func TestGuardsKeepWhatCannotBeLookedAt(t *testing.T) {
	bubble(t, "", func(t *testing.T, s *storage, store *supabase.Store) {
		s.put("a")
		s.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			failing := strings.Contains(r.URL.Path, "/info/")
			if failing {
				refuse(w, 500, "InternalError", "it broke")
			}
			return failing
		}
		results, err := store.Delete(t.Context(), []exportops.FileRef{{Key: "a", Guard: &exportops.FileGuard{}}})
		if err != nil || results[0].Removal != exportops.Unproven || s.removals() != 0 {
			t.Errorf("Delete = %+v, %v after %d removals, want it left alone", results, err, s.removals())
		}
	})
}

// A file that is written again within the second in which it was claimed has the
// same time of the file where storage cuts that to seconds.
func TestGuardSeesALaterWriteWithinTheSecond(t *testing.T) {
	bubble(t, "", func(t *testing.T, s *storage, store *supabase.Store) {
		time.Sleep(300 * time.Millisecond) // of the bubble's clock
		claimed := exportops.At(time.Now())
		time.Sleep(300 * time.Millisecond)
		s.put("a")
		results, err := store.Delete(t.Context(), []exportops.FileRef{{Key: "a", Guard: &exportops.FileGuard{NotAfter: claimed}}})
		if err != nil || results[0].Removal != exportops.Replaced {
			t.Errorf("Delete = %+v, %v, want it to be another file", results, err)
		}
	})
}
