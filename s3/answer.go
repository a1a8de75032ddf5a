package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// busyCodes ask for fewer requests, in the words of several services.
var busyCodes = []string{
	"SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "Throttling", "ThrottlingException",
	"RequestThrottled", "RequestLimitExceeded", "TooManyRequests", "TooManyRequestsException", "BandwidthLimitExceeded",
}

// passingCodes are of the service's own trouble, and of others who use the file
// at the same moment.
var passingCodes = []string{"InternalError", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict"}

// partialError is the error of a bulk request that was carried out in part.
type partialError struct {
	code    string // of one that was not
	message string
}

func (e *partialError) Error() string                 { return e.code + ": " + e.message }
func (e *partialError) ErrorCode() string             { return e.code }
func (e *partialError) ErrorMessage() string          { return e.message }
func (e *partialError) ErrorFault() smithy.ErrorFault { return smithy.FaultServer }

// code is the service's code for an error, or "".
func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// status is that of the answer, or 0 where there was none.
func status(err error) int {
	var e *smithyhttp.ResponseError
	if errors.As(err, &e) && e.Response != nil {
		return e.Response.StatusCode
	}
	return 0
}

// tooMany reports whether the service asks for fewer requests.
func tooMany(err error) bool {
	return slices.Contains(busyCodes, code(err)) ||
		status(err) == http.StatusTooManyRequests || status(err) == http.StatusServiceUnavailable
}

// passing reports whether the same request may succeed a little later.
func passing(err error) bool {
	switch status(err) {
	case http.StatusOK: // and then the answer broke off
		return true
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return true
	}
	return tooMany(err) || slices.Contains(passingCodes, code(err)) || unanswered(err)
}

// unanswered reports whether nothing came back.
func unanswered(err error) bool {
	var sent *smithyhttp.RequestSendError
	return status(err) == 0 && !withoutCredentials(err) && errors.As(err, &sent) && !errors.Is(err, context.Canceled)
}

// withoutCredentials reports whether there was nothing to sign the request with:
// another service was asked for that.
func withoutCredentials(err error) bool {
	var outer, inner *smithy.OperationError
	return errors.As(err, &outer) && errors.As(outer.Err, &inner) ||
		errors.As(err, &outer) && status(err) == 0 && isSigning(outer.Err)
}

func isSigning(err error) bool {
	var sent *smithyhttp.RequestSendError
	return !errors.As(err, &sent) && code(err) == "" &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// reason says briefly what the service answered: it is kept beside the file in
// the ledger.
func reason(err error) error {
	var sent *smithyhttp.RequestSendError
	var e smithy.APIError
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &e) && status(err) != 0:
		return fmt.Errorf("storage answered %s (HTTP %d)", said(e), status(err))
	case errors.As(err, &e):
		return fmt.Errorf("storage answered %s", said(e))
	case status(err) == http.StatusOK:
		return fmt.Errorf("the answer broke off or cannot be read: %w", innermost(err))
	case errors.As(err, &sent):
		return fmt.Errorf("storage did not answer: %w", sent.Err)
	}
	return err
}

func said(e smithy.APIError) string {
	c := cmp.Or(e.ErrorCode(), "an error")
	if e.ErrorMessage() == "" || e.ErrorMessage() == c {
		return c
	}
	return c + ", " + e.ErrorMessage()
}

func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
