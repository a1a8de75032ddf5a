package httpapi

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

// Cron services deliver at least once. Those that name the occurrence in a
// header of their own get the first result again without sending a key.
const (
	idempotencyKey = "Idempotency-Key"
	qstashMessage  = "Upstash-Message-Id"            // of Upstash QStash: the same for every delivery of a message
	googleJob      = "X-CloudScheduler-JobName"      // of Google Cloud Scheduler
	googleTime     = "X-CloudScheduler-ScheduleTime" // likewise: the time that the call stands for
)

// maxKeyBytes bounds each of the headers.
const maxKeyBytes = 500

// occurrence returns the key that two deliveries of one occurrence share, or "".
// Those of cron services are bound to the job, because several schedules may
// share a time.
func occurrence(h http.Header, job exportops.Job) (string, error) {
	for _, name := range []string{idempotencyKey, qstashMessage, googleJob, googleTime} {
		values := h.Values(name)
		if len(values) > 1 {
			return "", exportops.Invalid(name, "given %d times", len(values))
		}
		if err := checkKey(name, h.Get(name)); err != nil {
			return "", err
		}
	}
	switch {
	case h.Get(idempotencyKey) != "":
		return h.Get(idempotencyKey), nil
	case h.Get(qstashMessage) != "":
		return "qstash " + string(job) + " " + h.Get(qstashMessage), nil
	case h.Get(googleTime) != "":
		return "cloudscheduler " + string(job) + " " + h.Get(googleJob) + " " + h.Get(googleTime), nil
	}
	return "", nil
}

func checkKey(name, key string) error {
	if len(key) > maxKeyBytes {
		return exportops.Invalid(name, "%d bytes is more than %d", len(key), maxKeyBytes)
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return exportops.Invalid(name, "it holds a character that is not printable ASCII")
		}
	}
	return nil
}

// occurrenceHeaders describes the headers.
func occurrenceHeaders() []*huma.Param {
	most := maxKeyBytes
	header := func(name, does string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Description: does, Schema: &huma.Schema{Type: huma.TypeString, MaxLength: &most}}
	}
	return []*huma.Param{
		header(idempotencyKey, "A success is given again, for a day, to calls with the same key. A failure is not: the job runs again"),
		header(qstashMessage, "Sent by Upstash QStash; serves as the key where there is none"),
		header(googleTime, "Sent by Google Cloud Scheduler; serves as the key where there is none, together with X-CloudScheduler-JobName"),
	}
}
