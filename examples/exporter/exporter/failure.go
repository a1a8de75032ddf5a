package exporter

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"syscall"
)

// ErrorType names a way to fail, as error_type of the metric and at the head
// of error_message of the row.
type ErrorType string

// The ways an export fails.
const (
	InvalidRequest      ErrorType = "InvalidRequest"
	UnsupportedFormat   ErrorType = "UnsupportedFormat"
	EmptySelection      ErrorType = "EmptySelection"
	UnknownConversation ErrorType = "UnknownConversation"
	DamagedRecord       ErrorType = "DamagedRecord"
	DataSetMissing      ErrorType = "DataSetMissing"
	MissingFolder       ErrorType = "MissingFolder"
	DiskFull            ErrorType = "DiskFull"
	FileTooLarge        ErrorType = "FileTooLarge"
	WriteFailed         ErrorType = "WriteFailed"
	NotReported         ErrorType = "NotReported" // its row could not be written
	Canceled            ErrorType = "Canceled"
)

// ExportError is why there is no file.
type ExportError struct {
	ExportID string // "" when it got no row
	Type     ErrorType
	Detail   string // safe to show
	Err      error  // the cause, for logs; may be nil
}

// Error returns `ErrorType: detail`.
func (e *ExportError) Error() string { return string(e.Type) + ": " + e.Detail }

// Unwrap returns the cause.
func (e *ExportError) Unwrap() error { return e.Err }

// Status returns the HTTP status of the answer.
func (e *ExportError) Status() int {
	switch e.Type {
	case InvalidRequest, UnsupportedFormat, EmptySelection, UnknownConversation:
		return http.StatusUnprocessableEntity
	case DiskFull, FileTooLarge:
		return http.StatusInsufficientStorage
	case MissingFolder, NotReported, Canceled:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

func fail(t ErrorType, cause error, format string, args ...any) *ExportError {
	return &ExportError{Type: t, Detail: clip(fmt.Sprintf(format, args...)), Err: cause}
}

// clip keeps text that may quote a hostile value within what a row accepts.
func clip(s string) string {
	const most = 500
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
}

// asExportError gives every error a type: those that have none come from
// writing the file.
func asExportError(err error) *ExportError {
	var e *ExportError
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fail(DiskFull, err, "there is no space left for the file")
	case errors.Is(err, syscall.EFBIG):
		return fail(FileTooLarge, err, "the file grows beyond what the system allows")
	default:
		return fail(WriteFailed, err, "the file could not be written: %v", reason(err))
	}
}

// reason returns an error of the file system without the paths, which are
// nobody's business outside.
func reason(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	default:
		return err
	}
}
