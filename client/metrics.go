package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/exportops/exportops"
)

// tally is the answer to a batch of metrics.
type tally struct {
	Accepted int `json:"accepted"` // new and repeated
	New      int `json:"new"`
	Repeated int `json:"repeated"`
	Refused  int `json:"refused"`
	Errors   []struct {
		Line  int    `json:"line"` // from 1
		Field string `json:"field"`
		Error string `json:"error"`
	} `json:"errors"`
}

// sendMetrics is the recorder's sink.
func (c *Client) sendMetrics(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body) // ends each with a newline and writes none within
	for i := range batch {
		if err := enc.Encode(&batch[i]); err != nil {
			return nil, exportops.Invalid("", "encode a metric: %v", err)
		}
	}
	var answer tally
	err := c.do(ctx, request{
		method: http.MethodPost, path: "/api/v1/metrics", contentType: "application/x-ndjson",
		body: body.Bytes(), most: maxAnswer,
	}, &answer)
	if err != nil {
		return nil, err
	}
	return c.receipts(answer, len(batch))
}

// receipts spreads a tally over a batch of n. Which of the accepted lines were
// new it does not say, only how many, so the first ones are taken for new. An
// answer that does not add up is an error: the batch, which is safe to repeat,
// is sent again rather than counted wrongly.
func (c *Client) receipts(t tally, n int) ([]exportops.Receipt, error) {
	if t.New < 0 || t.Repeated < 0 || t.New+t.Repeated != t.Accepted ||
		t.Accepted+t.Refused != n || len(t.Errors) != t.Refused {
		return nil, senseless(fmt.Errorf("of %d metrics it counts %d new, %d repeated, %d accepted, %d refused, and lists %d errors",
			n, t.New, t.Repeated, t.Accepted, t.Refused, len(t.Errors)))
	}
	receipts := make([]exportops.Receipt, n)
	for _, e := range t.Errors {
		if e.Line < 1 || e.Line > n || receipts[e.Line-1].Err != nil {
			return nil, senseless(fmt.Errorf("it refuses line %d of %d, or refuses it twice", e.Line, n))
		}
		receipts[e.Line-1].Err = &exportops.Error{
			Kind: exportops.KindInvalid, Field: c.field(e.Field), Message: c.clean(e.Error),
		}
	}
	for i, left := 0, t.New; left > 0; i++ {
		if receipts[i].Err == nil {
			receipts[i].New = true
			left--
		}
	}
	return receipts, nil
}
