package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/exportops/exportops"
)

// keyCodes say that the credentials are not good, rather than not sufficient.
var keyCodes = []string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidClientTokenId"}

// regionCodes say that the request was signed for another region.
var regionCodes = []string{"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}

// wholeStore reports whether an error is of the bucket and not of the files that
// were asked about.
func wholeStore(err error) bool {
	return code(err) == "NoSuchBucket" || status(err) == http.StatusForbidden || status(err) == http.StatusUnauthorized ||
		status(err) == http.StatusMovedPermanently || status(err) == http.StatusTemporaryRedirect ||
		slices.Contains(keyCodes, code(err)) || slices.Contains(regionCodes, code(err)) || code(err) == "RequestTimeTooSkewed" ||
		withoutCredentials(err) || unanswered(err)
}

// fault turns what a request came back with into an error about the store. did
// is what was tried, such as "deleted from", and permission what that takes.
func (s *Store) fault(ctx context.Context, did, permission string, err error) error {
	if ended := ctx.Err(); ended != nil {
		return becauseEnded(ended, err)
	}
	bucket := fmt.Sprintf("the bucket %q", s.opts.Bucket)
	switch {
	case code(err) == "NoSuchBucket":
		return s.missing()
	case withoutCredentials(err):
		return unavailable("there are no credentials for "+s.id,
			"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role", err)
	case slices.Contains(keyCodes, code(err)):
		return unavailable(s.id+" does not accept the credentials",
			"check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and that they are of this service and have not expired", reason(err))
	case code(err) == "RequestTimeTooSkewed":
		return unavailable(s.id+" finds this machine's clock wrong", "set the clock, by NTP for example", reason(err))
	case slices.Contains(regionCodes, code(err)) || status(err) == http.StatusMovedPermanently || status(err) == http.StatusTemporaryRedirect:
		return unavailable(bucket+" is in another region or at another endpoint",
			"correct region=… and endpoint=… of the storage URL", reason(err))
	case status(err) == http.StatusForbidden || status(err) == http.StatusUnauthorized:
		return unavailable(fmt.Sprintf("%s may not be %s with these credentials", bucket, did),
			fmt.Sprintf("allow %s on %s, and check the access key", permission, s.place()), reason(err))
	case tooMany(err):
		return unavailable(s.id+" is too busy, or the account's limit of requests is reached",
			"try again later, with fewer things at work on the bucket", reason(err))
	case unanswered(err):
		return unavailable(s.id+" does not answer",
			"check endpoint=… of the storage URL, the network and the service", reason(err))
	}
	return unavailable(fmt.Sprintf("%s could not be %s", bucket, did), "see the service's own log, and try again", reason(err))
}

// missing is never to be read as "all files are gone".
func (s *Store) missing() error {
	return &exportops.Error{
		Kind:    exportops.KindUnavailable,
		Message: fmt.Sprintf("the bucket %q is missing at %s", s.opts.Bucket, s.id),
		Hint:    "create it, or correct the storage URL",
		Err:     exportops.ErrRootMissing,
	}
}

func unavailable(message, hint string, err error) error {
	return &exportops.Error{Kind: exportops.KindUnavailable, Message: message, Hint: hint, Err: err}
}

// isAbsent reports whether an answer says that there is no such file. About a
// request without a body it may mean the bucket as well.
func isAbsent(err error) bool {
	switch code(err) {
	case "NoSuchKey", "NoSuchVersion", "NotFound":
		return true
	}
	return status(err) == http.StatusNotFound && code(err) != "NoSuchBucket"
}

// hidden reports whether the answer says that a delete marker is what is there.
func hidden(err error) bool {
	var e *smithyhttp.ResponseError
	return errors.As(err, &e) && e.Response != nil && e.Response.Header.Get("X-Amz-Delete-Marker") == "true"
}
