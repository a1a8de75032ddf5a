package supabase

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"

	"github.com/exportops/exportops"
)

// mostRefusals is how often a removal is cut in two to find out what the server
// will not take: enough for three bad names in a full batch.
const mostRefusals = 32

// removal is the bulk removal of keys, and what is known of each.
type removal struct {
	*Store
	gone        map[string]int64 // bytes freed, of what the server says it removed
	interrupted map[string]bool  // an attempt may have removed it, its answer is lost
	failed      map[string]error // no attempt was answered
	refusals    int
	away        error // the server does not answer any more
}

func (s *Store) removal() *removal {
	return &removal{Store: s, gone: map[string]int64{}, interrupted: map[string]bool{}, failed: map[string]error{}}
}

// remove removes keys. The error is one
// that concerns all of them: then the claims of a run stay open, and are
// recovered as such.
func (r *removal) remove(ctx context.Context, keys []string) error {
	if err := r.part(ctx, keys, 1); err != nil {
		return err
	}
	if len(r.failed) < len(keys) {
		return nil
	}
	// Is it these files, or is it everything?
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.away != nil {
		return r.away
	}
	return r.present(ctx)
}

// part removes keys in one request, or in as many as the server needs. Where it is not answered it is tried again
// in halves, as too much at once is what servers time out on; where it is
// refused, in halves as well, to save the rest from what is refused.
func (r *removal) part(ctx context.Context, keys []string, attempt int) error {
	if r.away != nil {
		return r.fail(keys, r.away)
	}
	if most := int(r.limit.Load()); len(keys) > most { // as it may have been learnt meanwhile
		return r.split(ctx, keys, most, attempt)
	}
	var rows []object
	err := r.api.once(ctx, request{
		method: http.MethodDelete, path: []string{"object", r.bucket}, json: map[string][]string{"prefixes": keys},
	}, &rows)
	if err == nil {
		r.confirm(keys, rows)
		return nil
	}
	if whole(err) {
		return err
	}
	if mayHaveRun(err) {
		for _, key := range keys {
			r.interrupted[key] = true
		}
	}
	switch {
	case isContext(err):
		return r.fail(keys, err)
	case r.learn(err, len(keys)):
		return r.part(ctx, keys, attempt)
	case transient(err):
		r.learnPace(err, len(keys))
		return r.again(ctx, keys, attempt, err)
	}
	if r.refusals++; len(keys) == 1 || r.refusals > mostRefusals {
		return r.fail(keys, err)
	}
	return r.split(ctx, keys, (len(keys)+1)/2, attempt)
}

// again repeats an attempt that was not answered, after a pause.
func (r *removal) again(ctx context.Context, keys []string, attempt int, why error) error {
	err := why
	if attempt < attempts {
		err = pause(ctx, attempt, why)
	}
	switch {
	case err != nil:
		if !isContext(err) && !answering(err) {
			r.away = err
		}
		return r.fail(keys, err)
	case mayHaveRun(why):
		return r.split(ctx, keys, (len(keys)+1)/2, attempt+1)
	}
	return r.part(ctx, keys, attempt+1) // its size was not why
}

func (r *removal) split(ctx context.Context, keys []string, n, attempt int) error {
	for part := range slices.Chunk(keys, n) {
		if err := r.part(ctx, part, attempt); err != nil {
			return err
		}
	}
	return nil
}

func (r *removal) fail(keys []string, err error) error {
	for _, key := range keys {
		r.failed[key] = err
	}
	return nil
}

// confirm notes which keys the server says it removed. What else it names was
// not asked for and says nothing.
func (r *removal) confirm(keys []string, rows []object) {
	asked := make(map[string]bool, len(keys))
	for _, key := range keys {
		asked[key] = true
	}
	for _, o := range rows {
		if !asked[o.Name] || (o.BucketID != "" && o.BucketID != r.bucket) {
			continue
		}
		size, _ := o.size() // 0 where it is not known
		r.gone[o.Name] = size
	}
}

// outcomes says what became of each key. What the server did not name is looked
// at. Absence after an attempt whose answer was lost is taken for our doing, as
// the ledger takes it.
func (r *removal) outcomes(ctx context.Context, keys []string) (map[string]exportops.FileResult, error) {
	results := make(map[string]exportops.FileResult, len(keys))
	var silent []string
	for _, key := range keys {
		bytes, gone := r.gone[key]
		switch err := r.failed[key]; {
		case gone:
			results[key] = exportops.FileResult{Removal: exportops.Removed, Bytes: bytes}
		case err != nil && (!r.interrupted[key] || r.away != nil || ctx.Err() != nil):
			results[key] = unproven(fmt.Errorf("delete it: %w", err))
		default:
			silent = append(silent, key)
		}
	}
	infos := make([]exportops.FileInfo, len(silent))
	err := r.away
	if err == nil {
		err = r.lookAll(ctx, len(silent), func(i int) string { return silent[i] },
			func(i int, info exportops.FileInfo) { infos[i] = info })
	}
	if err != nil && whole(err) {
		return nil, err
	}
	for i, key := range silent {
		results[key] = r.outcome(key, infos[i], err)
	}
	return results, nil
}

// outcome says what became of a key that the server did not name.
func (r *removal) outcome(key string, info exportops.FileInfo, err error) exportops.FileResult {
	switch {
	case err != nil:
		return unproven(fmt.Errorf("storage did not say that it deleted it, and looking for it failed: %w", err))
	case info.Err != nil:
		return unproven(fmt.Errorf("storage did not say that it deleted it: %w", info.Err))
	case info.Exists && r.failed[key] != nil:
		return unproven(fmt.Errorf("delete it: %w", r.failed[key]))
	case info.Exists:
		return unproven(errors.New("storage did not delete it: it is still there"))
	case r.interrupted[key]:
		return exportops.FileResult{Removal: exportops.Removed}
	}
	return exportops.FileResult{Removal: exportops.Absent}
}

// bulkLimit is how Storage words its limit, which a project may have lowered.
var bulkLimit = regexp.MustCompile(`limited to (\d{1,6}) objects`)

// learn reports whether n keys were refused for being too many. It remembers
// how many to send from now on.
func (r *removal) learn(err error, n int) bool {
	var f *fault
	if !errors.As(err, &f) || n == 1 || f.meant < 400 || f.meant > 499 {
		return false
	}
	limit := 0
	if m := bulkLimit.FindStringSubmatch(f.message); m != nil {
		limit, _ = strconv.Atoi(m[1]) // it is all digits
	} else if f.status == http.StatusRequestEntityTooLarge || f.meant == http.StatusRequestEntityTooLarge {
		limit = n / 2
	}
	if limit < 1 || limit >= n {
		return false
	}
	r.limit.Store(min(r.limit.Load(), int64(limit)))
	return true
}

// fewest is what a slow server is sent at the least.
const fewest = 100

// learnPace sends less from now on to a server that did not remove n keys in
// time, so that not every batch waits in vain.
func (r *removal) learnPace(err error, n int) {
	var f *fault
	if errors.As(err, &f) && f.late && n > fewest {
		r.limit.Store(min(r.limit.Load(), int64(max(fewest, n/2))))
	}
}

// mayHaveRun reports whether a removal that was not answered, or not well, may
// have been carried out: Storage works in several transactions, so that even an
// error may come after some of them.
func mayHaveRun(err error) bool {
	var f *fault
	if !errors.As(err, &f) {
		return isContext(err)
	}
	return !f.unsent && transient(err) && f.meant != http.StatusTooManyRequests
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
