package client_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/client"
	"github.com/exportops/exportops/recorder"
)

const problemJSON = "application/problem+json"

func TestAnswersBecomeErrorsOfAKind(t *testing.T) {
	tests := map[string]struct {
		status         int
		kind, body     string
		want           exportops.Kind
		wantErr, field string
	}{
		"one_field": {
			status: 422, kind: problemJSON, want: exportops.KindInvalid, field: "format",
			body:    `{"title":"Unprocessable Entity","status":422,"detail":"validation failed","errors":[{"message":"not one of json, csv","location":"body.format","value":"xml"}]}`,
			wantErr: "format: not one of json, csv",
		},
		"several_fields": {
			status: 422, kind: problemJSON, want: exportops.KindInvalid,
			body:    `{"detail":"validation failed","errors":[{"message":"missing","location":"body.user_id"},{"message":"is negative","location":"body.file_size"}]}`,
			wantErr: "validation failed: user_id: missing\nfile_size: is negative",
		},
		"one_parameter": {
			status: 400, kind: problemJSON, want: exportops.KindInvalid, field: "cursor",
			body:    `{"detail":"a value is wrong","errors":[{"message":"it is none of ours","location":"query.cursor"}]}`,
			wantErr: "cursor: it is none of ours",
		},
		"malformed": {
			status: 400, kind: problemJSON, body: `{"title":"Bad Request"}`,
			want: exportops.KindInvalid, wantErr: "Bad Request",
		},
		"unauthorized": {
			status: 401, kind: problemJSON, body: `{"detail":"no such token ` + token + `"}`,
			want: exportops.KindRefused, wantErr: "no such token (token)",
		},
		"forbidden":        {status: 403, want: exportops.KindRefused, wantErr: "the server answered 403 forbidden"},
		"not_found":        {status: 404, kind: problemJSON, body: `{"detail":"no export has this id"}`, want: exportops.KindNotFound, wantErr: "no export has this id"},
		"conflict":         {status: 409, want: exportops.KindConflict, wantErr: "the server answered 409 conflict"},
		"too_large":        {status: 413, want: exportops.KindTooLarge, wantErr: "the server answered 413 request entity too large"},
		"teapot":           {status: 418, want: exportops.KindInvalid, wantErr: "the server answered 418 i'm a teapot"},
		"too_many":         {status: 429, want: exportops.KindUnavailable, wantErr: "the server answered 429 too many requests"},
		"page_of_a_proxy":  {status: 502, kind: "text/html", body: "<h1>Bad gateway</h1>", want: exportops.KindUnavailable, wantErr: "the server answered 502 bad gateway"},
		"several_lines":    {status: 500, kind: problemJSON, body: `{"detail":"one\ntwo\u001b[31m"}`, want: exportops.KindUnavailable, wantErr: "one two [31m"},
		"empty_success":    {status: 204, want: exportops.KindUnavailable, wantErr: "the server's answer makes no sense: it is not JSON"},
		"html_success":     {status: 200, kind: "text/html", body: "<h1>Log in</h1>", want: exportops.KindUnavailable, wantErr: "the server's answer makes no sense: it is not JSON"},
		"broken_success":   {status: 200, kind: "application/json", body: `{"id":`, want: exportops.KindUnavailable, wantErr: "the server's answer makes no sense: unexpected end of JSON input"},
		"another's_export": {status: 200, kind: "application/json", body: `{"export_id":"22222222-2222-4333-8444-555555555555"}`, want: exportops.KindUnavailable, wantErr: "the server's answer makes no sense: it is not the export that was asked for"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, tt.status, tt.kind, tt.body) })
			_, err := c.CreateExport(t.Context(), export())
			var e *exportops.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an exportops.Error", err)
			}
			if e.Kind != tt.want || e.Field != tt.field || err.Error() != tt.wantErr {
				t.Errorf("got kind %s, field %q, %q\nwant kind %s, field %q, %q", e.Kind, e.Field, err, tt.want, tt.field, tt.wantErr)
			}
		})
	}
}

func TestTheServersHintIsPassedOn(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 409, problemJSON, `{"detail":"the file is being deleted","hint":"create a new export"}`)
	})
	_, err := c.UpdateExport(t.Context(), export().ExportID, exportops.ExportUpdate{})
	var e *exportops.Error
	if !errors.As(err, &e) || e.Hint != "create a new export" {
		t.Errorf("got %+v, want the hint", e)
	}
}

func TestTheTokenStaysWithTheServer(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was called with %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/"+token, status)
		})
		for _, call := range []func() error{
			func() error { _, err := c.CreateExport(t.Context(), export()); return err },
			func() error { _, err := c.Export(t.Context(), export().ExportID); return err },
		} {
			if err := call(); !exportops.IsKind(err, exportops.KindRefused) || strings.Contains(err.Error(), token) {
				t.Errorf("a redirect with %d: %v, want KindRefused", status, err)
			}
		}
	}
}

func TestAServerThatIsGone(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	c := open(t, srv.URL)
	_, _, err := c.Exports(t.Context(), exportops.ExportFilter{UserID: export().UserID})
	if !exportops.IsKind(err, exportops.KindUnavailable) {
		t.Errorf("got %v, want KindUnavailable", err)
	}
	for _, private := range []string{token, export().UserID} {
		if strings.Contains(err.Error(), private) {
			t.Errorf("the error holds %q: %v", private, err)
		}
	}
}

func TestAnAnswerWithoutEndIsGivenUp(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for chunk := []byte(strings.Repeat(" ", 1<<20)); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	_, err := c.Export(t.Context(), export().ExportID)
	if !exportops.IsKind(err, exportops.KindUnavailable) || !strings.Contains(err.Error(), "longer than 8388608 bytes") {
		t.Errorf("got %v, want KindUnavailable for the length", err)
	}
}

func TestRetryAfterIsInTheError(t *testing.T) {
	inAnHour := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for header, want := range map[string][2]time.Duration{
		"17":     {17 * time.Second, 17 * time.Second},
		inAnHour: {59 * time.Minute, time.Hour},
		"-5":     {}, "soon": {}, "": {}, "99999999999999999999": {},
	} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			answer(w, 503, problemJSON, `{"detail":"the database is busy"}`)
		})
		_, err := c.Export(t.Context(), export().ExportID)
		var asked *recorder.RetryAfterError
		var after time.Duration
		if errors.As(err, &asked) {
			after = asked.After
		}
		if after < want[0] || after > want[1] || !exportops.IsKind(err, exportops.KindUnavailable) {
			t.Errorf("Retry-After %q: %v after %v, want %v", header, err, after, want)
		}
	}
}

func TestARequestHasATimeLimit(t *testing.T) {
	release := make(chan struct{})
	c := serve(t, func(http.ResponseWriter, *http.Request) { <-release }, client.WithTimeout(20*time.Millisecond))
	_, err := c.Export(t.Context(), export().ExportID)
	close(release)
	if !exportops.IsKind(err, exportops.KindUnavailable) || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("got %v, want KindUnavailable for the deadline", err)
	}
}
