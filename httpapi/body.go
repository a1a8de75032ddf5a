package httpapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/exportops/exportops"
)

// Limits on bodies, in bytes.
const (
	MaxObjectBytes = 1 << 20  // a JSON object
	MaxBatchBytes  = 32 << 20 // a batch of metrics
	// MaxLineBytes bounds a line of a batch: the largest texts that a metric may
	// hold, with every character written as an escape, and room.
	MaxLineBytes = 128 << 10
	MaxPlanBytes = 512 << 20 // a plan; one of a million log rows has about 300 MB
)

// MaxBatchLines bounds the lines of a batch, and with them the refusals that
// one answer may have to list.
const MaxBatchLines = 50_000

const (
	jsonType   = "application/json"
	ndjsonType = "application/x-ndjson"
)

// mediaType returns which of the types the body is of, or a 415 problem.
func (s *server) mediaType(c *call, types ...string) (string, error) {
	kind, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	charset := params["charset"]
	if err == nil && (charset == "" || strings.EqualFold(charset, "utf-8")) && c.r.Header.Get("Content-Encoding") == "" {
		for _, t := range types {
			if kind == t {
				return t, nil
			}
		}
	}
	p := s.newProblem(c, http.StatusUnsupportedMediaType, "the body is not "+strings.Join(types, " or ")+" in UTF-8 without compression")
	p.Hint = "send the header Content-Type: " + types[0]
	return "", p
}

// limit bounds the body, and refuses one that says beforehand that it is
// longer.
func limit(c *call, most int64) (io.Reader, error) {
	if c.r.ContentLength > most {
		return nil, tooLarge(most)
	}
	return http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, most), nil
}

func tooLarge(most int64) error {
	return &exportops.Error{Kind: exportops.KindTooLarge, Message: fmt.Sprintf("the body is longer than %d bytes", most)}
}

// bodyError says what a failed read of a body means.
func bodyError(err error) error {
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return tooLarge(long.Limit)
	}
	return unreadable(&exportops.Error{Kind: exportops.KindInvalid, Message: "the body ended early", Err: err})
}

// decodeBody reads a body that is one JSON object into the struct that v points
// to.
func (s *server) decodeBody(c *call, fields fields, v any) error {
	if _, err := s.mediaType(c, jsonType); err != nil {
		return err
	}
	r, err := limit(c, MaxObjectBytes)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return bodyError(err)
	}
	return fields.decode(body, v)
}
