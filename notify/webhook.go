package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/exportops/exportops"
)

// Webhook posts messages as JSON, signed as Standard Webhooks has it: a receiver
// verifies them with the library of its language, and knows a second delivery by its
// id.
type Webhook struct {
	client *http.Client
	url    string
	keys   []*standardwebhooks.Webhook
	now    func() time.Time
}

var _ exportops.Channel = (*Webhook)(nil)

// NewWebhook returns a channel that posts to a URL by a client of a guard, signed with
// each of the secrets: two while one is rotated. An error repeats none of them.
func NewWebhook(client *http.Client, url string, secrets ...string) (*Webhook, error) {
	w := &Webhook{client: client, url: url, now: time.Now}
	for n, s := range secrets {
		key, err := standardwebhooks.NewWebhook(s)
		if err != nil {
			return nil, fmt.Errorf("secret %d of %d is not written in base64", n+1, len(secrets))
		}
		w.keys = append(w.keys, key)
	}
	if len(w.keys) == 0 {
		return nil, errors.New("a webhook needs a secret")
	}
	return w, nil
}

// Send implements exportops.Channel.
func (w *Webhook) Send(ctx context.Context, m exportops.Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return hopeless("the message cannot be written as JSON")
	}
	// The time is that of the attempt: a receiver refuses what is old.
	at := w.now()
	signatures := make([]string, len(w.keys))
	for n, key := range w.keys {
		if signatures[n], err = key.Sign(m.ID, at, body); err != nil {
			return hopeless("the message cannot be signed")
		}
	}
	return post(ctx, w.client, w.url, body, map[string]string{
		standardwebhooks.HeaderWebhookID:        m.ID,
		standardwebhooks.HeaderWebhookTimestamp: strconv.FormatInt(at.Unix(), 10),
		standardwebhooks.HeaderWebhookSignature: strings.Join(signatures, " "),
	})
}

// post sends JSON.
func post(ctx context.Context, client *http.Client, url string, body []byte, headers map[string]string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return attempted(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	res, err := client.Do(req)
	if err != nil {
		return attempted(err)
	}
	return attempted(res.Body.Close())
}
