package s3

import (
	"fmt"
	"strings"

	"github.com/exportops/exportops"
)

// maxKey is the most bytes of a key.
const maxKey = 1024

// checkKey refuses what can be no export's key in this store. Keys are relative
// to the bucket, so they hold the prefix.
func (s *Store) checkKey(key string) error {
	if err := exportops.CheckKey(key); err != nil {
		return err
	}
	rest, ours := strings.CutPrefix(key, s.opts.Prefix)
	switch {
	case len(key) > maxKey:
		return fmt.Errorf("%w: it has %d bytes, and S3 knows none of more than %d", exportops.ErrBadKey, len(key), maxKey)
	case !ours:
		return fmt.Errorf("%w: it is outside the prefix %q", exportops.ErrBadKey, s.opts.Prefix)
	case strings.HasPrefix(rest, reserved):
		return fmt.Errorf("%w: names that begin with %s are reserved", exportops.ErrBadKey, reserved)
	case strings.ContainsAny(key, "\uFFFE\uFFFF"):
		// They would be replaced on the way, and so name another file.
		return fmt.Errorf("%w: it holds a character that XML cannot carry", exportops.ErrBadKey)
	}
	return nil
}
