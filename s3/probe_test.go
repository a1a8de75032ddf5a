package s3_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/exportops/exportops/s3"
)

func TestAProbeNamesTheMissingPermission(t *testing.T) {
	for name, x := range map[string]struct {
		fault func(request) *http.Response
		hint  string
		left  bool
	}{
		"write":  {on("PutObject", http.StatusForbidden, "AccessDenied"), "allow s3:PutObject on \"exports/out/\"", false},
		"read":   {on("GetObject", http.StatusForbidden, "AccessDenied"), "allow s3:GetObject on", false},
		"delete": {on("DeleteObjects", http.StatusForbidden, "AccessDenied"), "allow s3:DeleteObject on", true},
		"delete_by_key": {func(q request) *http.Response {
			if q.op != "DeleteObjects" {
				return nil
			}
			return bulkAnswer(keyError(q.entry[0].Key, "AccessDenied"))
		}, "allow s3:DeleteObject on", true},
		"look": {on("HeadObject", http.StatusForbidden, ""), "s3:ListBucket", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.fault = x.fault
			err := f.open(t, withPrefix("out")).Probe(t.Context())
			if e := asError(t, err); !strings.Contains(e.Hint, x.hint) {
				t.Errorf("Probe: %v, hint %q, want it to name %q", err, e.Hint, x.hint)
			}
			if left := f.left(); (left != "") != x.left || x.left && !strings.HasPrefix(left, "out/.exportops-probe-") {
				t.Errorf("left %q", left)
			}
		})
	}
}

func TestAProbeThatIsCancelledLeavesNothing(t *testing.T) {
	f := newFake()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.spoil = func(q request, a *http.Response) (*http.Response, error) {
		if q.op == "PutObject" {
			cancel()
			return nil, context.Canceled
		}
		return a, nil
	}
	if err := f.open(t).Probe(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Probe: %v, want the context's error", err)
	}
	if f.left() != "" || f.count("PutObject") != 1 {
		t.Errorf("left %q", f.left())
	}
}

func TestAProbeNoticesWhatIsNotGone(t *testing.T) {
	f := newFake()
	f.fault = func(q request) *http.Response {
		if q.op == "DeleteObjects" {
			return bulkAnswer(deleted(q.entry[0].Key))
		}
		return nil
	}
	if e := asError(t, f.open(t).Probe(t.Context())); !strings.Contains(e.Message, "still there") {
		t.Errorf("Probe: %v", e)
	}
	f = newFake()
	f.spoil = func(q request, a *http.Response) (*http.Response, error) {
		if q.op == "GetObject" {
			return answer(http.StatusOK, "something else"), nil
		}
		return a, nil
	}
	if e := asError(t, f.open(t).Probe(t.Context())); !strings.Contains(e.Message, "did not read as it was written") || f.left() != "" {
		t.Errorf("Probe: %v, left %q", e, f.left())
	}
}

func TestWhatIsWrittenIsEncrypted(t *testing.T) {
	for _, x := range []s3.Options{{}, {Encryption: "AES256"}, {Encryption: "aws:kms"}, {Encryption: "aws:kms", KMSKey: "alias/exports"}} {
		f := newFake()
		s := f.open(t, func(o *s3.Options) { o.Encryption, o.KMSKey = x.Encryption, x.KMSKey })
		check(t, s.Probe(t.Context()))
		h := f.asked[0].header
		if f.asked[0].op != "PutObject" || h.Get("X-Amz-Server-Side-Encryption") != x.Encryption ||
			h.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != x.KMSKey {
			t.Errorf("%+v: headers %v", x, h)
		}
	}
}
