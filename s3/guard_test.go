package s3_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

func guarded(g exportops.FileGuard, keys ...string) []exportops.FileRef {
	r := refs(keys...)
	for i := range r {
		r[i].Guard = &g
	}
	return r
}

func size(n int64) *int64 { return &n }

// A file that is written between the look and the deletion stays.
func TestADeletionIsOnConditionOfWhatWasSeen(t *testing.T) {
	f := newFake("a", "b")
	f.fault = func(q request) *http.Response {
		if q.op == "DeleteObjects" {
			f.objects["a"] = "written again"
		}
		return nil
	}
	results := deleteRefs(t, f.open(t), guarded(exportops.FileGuard{}, "a", "b"))
	expect(t, results, "changed: written again", "deleted")
	if results[1].Bytes != int64(len("content of b")) {
		t.Errorf("%d bytes freed", results[1].Bytes)
	}
	if f.left() != "a" {
		t.Errorf("left %q", f.left())
	}
}

func TestAFileThatVanishesBetweenLookAndDeletionIsAbsent(t *testing.T) {
	f := newFake("a")
	f.fault = func(q request) *http.Response {
		if q.op == "DeleteObjects" {
			delete(f.objects, "a")
		}
		return nil
	}
	expect(t, deleteRefs(t, f.open(t), guarded(exportops.FileGuard{}, "a")), "absent")
}

// A service that refuses conditions gets none once that is seen at one key.
func TestAServiceWithoutConditionsIsAskedWithout(t *testing.T) {
	for name, status := range map[string]int{"not_implemented": http.StatusNotImplemented, "bad_request": http.StatusBadRequest} {
		t.Run(name, func(t *testing.T) {
			keys := numbered(1000)
			f := newFake(append(keys, "c")...)
			f.fault = func(q request) *http.Response {
				for _, e := range q.entry {
					if e.ETag != "" {
						return refusal(status, "MalformedXML")
					}
				}
				return nil
			}
			s := f.open(t)
			expectAll(t, deleteRefs(t, s, guarded(exportops.FileGuard{}, keys...)), "deleted")
			before := f.count("DeleteObjects")
			expectAll(t, deleteRefs(t, s, guarded(exportops.FileGuard{Size: size(12)}, "c")), "deleted")
			if after := f.count("DeleteObjects"); before > 22 || after != before+1 {
				t.Errorf("%d requests, and %d for one more file", before, after-before)
			}
		})
	}
}

// A key that the service takes for no key says nothing of the conditions on others.
func TestAPoisonedKeyDropsNoConditions(t *testing.T) {
	f := newFake("a", "b", "c", "poisoned")
	f.fault = func(q request) *http.Response {
		if q.op == "DeleteObjects" {
			f.objects["a"] += ", written again"
		}
		if strings.Contains(q.body, "<Key>poisoned</Key>") {
			return refusal(http.StatusBadRequest, "MalformedXML")
		}
		return nil
	}
	s := f.open(t)
	results := deleteRefs(t, s, guarded(exportops.FileGuard{}, "a", "b", "c", "poisoned"))
	expect(t, results, "changed: written again", "deleted", "deleted", "failed: MalformedXML")
	f.objects["b"], f.objects["c"] = "content of b", "content of c"
	expect(t, deleteRefs(t, s, guarded(exportops.FileGuard{}, "a", "b")), "changed: written again", "deleted")
	if f.left() != "a c poisoned" {
		t.Errorf("left %q", f.left())
	}
}

// HEAD tells whole seconds, so a file of the guard's own second may have been
// written after it.
func TestAFileOfTheGuardsSecondIsLeftAlone(t *testing.T) {
	for at, want := range map[time.Duration]string{
		-time.Millisecond:       "changed: was written at",
		0:                       "deleted",
		time.Millisecond:        "changed: was written at",
		998 * time.Millisecond:  "changed: was written at",
		999 * time.Millisecond:  "deleted",
		1000 * time.Millisecond: "deleted",
		24 * time.Hour:          "deleted",
	} {
		f := newFake("a")
		g := exportops.FileGuard{NotAfter: exportops.At(written.Add(at))}
		t.Run(at.String(), func(t *testing.T) { expect(t, deleteRefs(t, f.open(t), guarded(g, "a")), want) })
	}
}

// Some services list fractions of a second, which HEAD does not tell: a guard that is
// made of what was listed means that file.
func TestAFileIsTheOneThatWasListed(t *testing.T) {
	f := newFake("a")
	f.fault = func(q request) *http.Response {
		if q.op != "ListObjectsV2" {
			return nil
		}
		return answer(http.StatusOK, `<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>12</Size><LastModified>`+
			written.Add(123*time.Millisecond).Format("2006-01-02T15:04:05.000Z")+`</LastModified></Contents></ListBucketResult>`)
	}
	s := f.open(t)
	for w, err := range s.Walk(t.Context(), "") {
		check(t, err)
		g := exportops.FileGuard{Size: &w.Size, NotAfter: w.Modified, Version: w.Version}
		expect(t, deleteRefs(t, s, guarded(g, w.Key)), "deleted")
	}
	if f.left() != "" {
		t.Errorf("left %q", f.left())
	}
}

func TestAFileWithoutATimeIsNoneThatWasClaimed(t *testing.T) {
	f := newFake("a")
	f.spoil = func(_ request, a *http.Response) (*http.Response, error) {
		a.Header.Del("Last-Modified")
		return a, nil
	}
	g := exportops.FileGuard{NotAfter: exportops.At(written.Add(time.Hour))}
	expect(t, deleteRefs(t, f.open(t), guarded(g, "a")), "changed: does not say when")
}

// Of the files of a batch that name one object, each has its own guard.
func TestOneKeyWithSeveralGuards(t *testing.T) {
	f := newFake("a", "b")
	batch := append(guarded(exportops.FileGuard{Size: size(1)}, "a", "b"), guarded(exportops.FileGuard{Size: size(12)}, "a")...)
	batch = append(batch, refs("a")...)
	results := deleteRefs(t, f.open(t), batch)
	expect(t, results, "changed: 12 bytes", "changed: 12 bytes", "deleted", "absent")
	if freed := results[2].Bytes + results[3].Bytes; freed != 12 {
		t.Errorf("%d bytes freed", freed)
	}
	if f.left() != "b" || f.count("HeadObject") != 2 || f.count("DeleteObjects") != 1 {
		t.Errorf("left %q after %d looks and %d deletions", f.left(), f.count("HeadObject"), f.count("DeleteObjects"))
	}
}

func TestWithoutAGuardNothingIsLookedAt(t *testing.T) {
	f := newFake("a", "b")
	results := deleteKeys(t, f.open(t), "a", "gone", "b", "a")
	expectAll(t, results, "deleted")
	for i, r := range results {
		if r.Bytes != 0 {
			t.Errorf("file %d freed %d bytes, and nobody looked", i, r.Bytes)
		}
	}
	if len(f.asked) != 1 || len(f.asked[0].entry) != 3 {
		t.Errorf("requests: %+v", f.asked)
	}
}

func TestALookMayBeForbidden(t *testing.T) {
	f := newFake("a", "b")
	f.fault = func(q request) *http.Response {
		if q.op == "HeadObject" && q.key == "a" {
			return answer(http.StatusForbidden, "")
		}
		return nil
	}
	expect(t, deleteRefs(t, f.open(t), guarded(exportops.FileGuard{}, "a", "b")), "failed: s3:ListBucket", "deleted")
}

func TestFullVerification(t *testing.T) {
	t.Run("tells_deleted_from_absent", func(t *testing.T) {
		f := newFake("a", "b")
		results := deleteKeys(t, f.open(t, verifyFull), "a", "gone", "b", "b")
		expect(t, results, "deleted", "absent", "deleted", "absent")
		if results[0].Bytes != 12 || results[1].Bytes != 0 || results[2].Bytes != 12 || results[3].Bytes != 0 {
			t.Errorf("bytes freed: %+v", results)
		}
	})
	t.Run("notices_what_was_confirmed_and_is_there", func(t *testing.T) {
		f := newFake("a", "b")
		f.fault = func(q request) *http.Response {
			if q.op == "DeleteObjects" {
				delete(f.objects, "b")
				return bulkAnswer(deleted("a") + deleted("b"))
			}
			return nil
		}
		results := deleteKeys(t, f.open(t, verifyFull), "a", "b")
		expect(t, results, "failed: it is there after", "deleted")
		if results[0].Bytes != 0 {
			t.Errorf("%d bytes freed of a file that is there", results[0].Bytes)
		}
	})
	t.Run("takes_no_missing_bucket_for_deleted_files", func(t *testing.T) {
		for op, want := range map[string]string{"HeadObject": "before", "DeleteObjects": "at", "": "after"} {
			f := newFake("a", "b")
			f.fault = func(q request) *http.Response {
				f.mu.Lock()
				f.gone = f.gone || q.op == op
				f.mu.Unlock()
				return nil
			}
			f.spoil = func(q request, a *http.Response) (*http.Response, error) {
				f.mu.Lock()
				f.gone = f.gone || op == "" && q.op == "DeleteObjects"
				f.mu.Unlock()
				return a, nil
			}
			t.Run(want+"_the_deletion", func(t *testing.T) { expectRootMissing(t, f.open(t, verifyFull)) })
		}
	})
}
