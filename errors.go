package exportops

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Kind says what a caller can do about an error.
type Kind string

// The kinds of error that callers tell apart.
const (
	KindInvalid     Kind = "invalid"     // the value given is wrong; Field names it
	KindNotFound    Kind = "not_found"   // there is no such thing
	KindConflict    Kind = "conflict"    // it contradicts what is there
	KindRefused     Kind = "refused"     // a guard said no; nothing was changed
	KindUnavailable Kind = "unavailable" // database or storage cannot be used now
	KindTooLarge    Kind = "too_large"   // more than is accepted at once
	KindInternal    Kind = "internal"    // our fault
)

// Error is an error with a sentence that is safe to show to users. The cause
// in Err is for logs only.
type Error struct {
	Kind    Kind
	Field   string // the field, setting or parameter at fault, or ""
	Message string // one sentence, safe to show
	Hint    string // the next step, or ""
	Err     error  // the cause, or nil
}

// Error returns the field, the message and the cause.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Message)
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Invalid returns a KindInvalid error about field.
func Invalid(field, format string, args ...any) error {
	return &Error{Kind: KindInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the first Error in err's tree, or KindInternal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindInternal
}

// IsKind reports whether err is of kind k.
func IsKind(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// ErrFenced is returned by every statement of a run whose lease was taken by
// another process: the holder must stop and commits nothing more.
var ErrFenced = errors.New("the run was taken over by another process")

// quoteShort quotes s for a message, cut so that hostile input stays short.
func quoteShort(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "… (" + strconv.Itoa(len(s)) + " bytes)"
	}
	return strconv.QuoteToASCII(s)
}
