package notify

import (
	"errors"
	"net/http"
	"strings"
	"unicode"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/outbound"
)

// attempted turns what came of a request into what a channel says of a delivery.
func attempted(err error) error {
	if err == nil {
		return nil
	}
	var e *outbound.Error
	if !errors.As(err, &e) {
		// Whatever a library says beside that may repeat the URL.
		return hopeless("no request can be made of the message")
	}
	return &exportops.DeliveryError{Err: e, Final: isFinal(e.Code), RetryAfter: e.RetryAfter}
}

// hopeless is the error of a message that a channel cannot deliver, ever.
func hopeless(message string) error {
	return &exportops.DeliveryError{Err: errors.New(message), Final: true}
}

// isFinal reports whether the same request would be answered with the same status
// again: the receiver is not there, does not know us, or does not want this.
func isFinal(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusMisdirectedRequest, http.StatusLocked,
		http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	case http.StatusMovedPermanently, http.StatusPermanentRedirect:
		return true
	}
	return code/100 == 4
}

// oneLine replaces what could end a line, or a header, and cuts the text.
func oneLine(s string, most int) string {
	return cut(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�")), most)
}

// cut shortens a text to so many characters.
func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
