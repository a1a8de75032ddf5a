package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/exportops/exportops"
)

// object is one entry of a bulk request, and what was answered about it.
type object struct {
	key     string
	version string // "" for the current one
	etag    string // it must have, as the service writes it; "" for any

	gone   bool  // the service confirms it
	marker bool  // and says that it only put a delete marker there
	err    error // why it is not confirmed
	code   string
}

// id is what an answer names an object by.
type id struct{ key, version string }

func (o *object) id() id {
	if o.version == "null" { // some services leave it out of the answer
		return id{o.key, ""}
	}
	return id{o.key, o.version}
}

// bulk deletes objects, of which no two are the same, and notes at each what
// became of it. The error is set when the bucket cannot be used, and nothing is
// known of any of them.
func (s *Store) bulk(ctx context.Context, giveUp time.Time, objects []*object) error {
	w := &work{Store: s, giveUp: giveUp, all: objects}
	for len(objects) > 0 {
		n := min(len(objects), int(s.perCall.Load()))
		if err := w.delete(ctx, objects[:n]); err != nil {
			return err
		}
		objects = objects[n:]
	}
	return nil
}

// work is one call of bulk: one bulk request, or more where the service takes
// fewer keys.
type work struct {
	*Store
	giveUp time.Time
	all    []*object
	splits int // how often a request was taken apart
}

// fewestPerCall is the lowest limit that is kept in mind: a mishap now and then
// must not make every request a small one.
const fewestPerCall = 50

func (w *work) delete(ctx context.Context, part []*object) error {
	if w.noConditions.Load() {
		dropConditions(part)
	}
	err := w.request(ctx, w.giveUp, part)
	left := slices.DeleteFunc(slices.Clone(part), (*object).known)
	switch {
	case err == nil || len(left) == 0:
		return nil
	case ctx.Err() != nil:
		err = becauseEnded(ctx.Err(), err)
	case refusedAsWhole(err):
		return w.takeApart(ctx, left, err)
	case code(err) == "NoSuchBucket" || wholeStore(err) && !slices.ContainsFunc(w.all, (*object).known):
		return w.fault(ctx, "deleted from", "s3:DeleteObject", err)
	}
	for _, o := range left {
		o.err = fmt.Errorf("not confirmed: %w", reason(err))
	}
	return nil
}

func (o *object) known() bool { return o.gone || o.err != nil }

// refusedAsWhole reports whether something in the request is to blame, or its
// length.
func refusedAsWhole(err error) bool {
	if slices.Contains(keyCodes, code(err)) || slices.Contains(regionCodes, code(err)) {
		return false
	}
	switch status(err) {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusNotImplemented:
		return true
	}
	return false
}

// takeApart asks again in two halves, so that a limit lower than S3's is found
// and one poisoned key does not stop the others. What is refused alone, and deleted
// without its condition, shows a service that does not know conditions.
func (w *work) takeApart(ctx context.Context, left []*object, because error) error {
	if len(left) == 1 {
		if dropConditions(left) {
			err := w.delete(ctx, left)
			if err == nil && left[0].gone {
				w.noConditions.Store(true)
			}
			return err
		}
		left[0].err = reason(because)
		return nil
	}
	half := (len(left) + 1) / 2
	w.splits++
	before := w.splits
	for _, part := range [][]*object{left[:half], left[half:]} {
		if err := w.delete(ctx, part); err != nil {
			return err
		}
	}
	// It was the length, then, and not one of the keys.
	allGone := !slices.ContainsFunc(left, func(o *object) bool { return !o.gone })
	if allGone && w.splits == before && half >= fewestPerCall {
		w.perCall.Store(int64(half))
	}
	return nil
}

func dropConditions(objects []*object) (had bool) {
	for _, o := range objects {
		had = had || o.etag != ""
		o.etag = ""
	}
	return had
}

// request makes one bulk request, and again for those that the service was too
// busy for.
func (s *Store) request(ctx context.Context, giveUp time.Time, part []*object) error {
	left := slices.Clone(part)
	err := s.send(ctx, giveUp, func(ctx context.Context) error {
		in := &awss3.DeleteObjectsInput{Bucket: &s.opts.Bucket, Delete: &types.Delete{Quiet: aws.Bool(false)}}
		for _, o := range left {
			in.Delete.Objects = append(in.Delete.Objects, o.identifier())
		}
		out, err := s.client.DeleteObjects(ctx, in, withMD5)
		if err != nil {
			return err
		}
		left, err = read(out, left)
		return err
	})
	var some *partialError
	if errors.As(err, &some) {
		for _, o := range left {
			o.err = reason(err)
		}
		return nil
	}
	return err
}

func (o *object) identifier() types.ObjectIdentifier {
	in := types.ObjectIdentifier{Key: &o.key}
	if o.version != "" {
		in.VersionId = &o.version
	}
	if o.etag != "" {
		in.ETag = &o.etag
	}
	return in
}

// read notes what was answered, about the objects that were asked for and those
// that the answer names. It returns those to ask for again.
func read(out *awss3.DeleteObjectsOutput, asked []*object) (again []*object, err error) {
	byID := make(map[id]*object, len(asked))
	for _, o := range asked {
		byID[o.id()] = o
	}
	find := func(key, version *string) *object {
		v := aws.ToString(version)
		if v == "null" {
			v = ""
		}
		if o := byID[id{aws.ToString(key), v}]; o != nil {
			return o
		}
		// Some name the version that they deleted though none was asked for.
		return byID[id{aws.ToString(key), ""}]
	}
	for _, d := range out.Deleted {
		if o := find(d.Key, d.VersionId); o != nil {
			o.gone = true
			o.marker = o.version == "" && (aws.ToBool(d.DeleteMarker) || aws.ToString(d.DeleteMarkerVersionId) != "")
		}
	}
	for _, e := range out.Errors { // they count, where both are said
		o := find(e.Key, e.VersionId)
		if o == nil {
			continue
		}
		o.gone, o.marker, o.code = false, false, aws.ToString(e.Code)
		one := &partialError{code: o.code, message: aws.ToString(e.Message)}
		if passing(one) {
			again, err = append(again, o), one
			continue
		}
		o.err = reason(one)
	}
	for _, o := range asked {
		if !o.gone && o.err == nil && !slices.Contains(again, o) {
			o.err = errors.New("storage's answer does not name it")
		}
	}
	return again, err
}

// result says what an answer means for the file.
func (o *object) result() exportops.FileResult {
	switch {
	case o.gone:
		return exportops.FileResult{Removal: exportops.Removed}
	case o.code == "NoSuchKey" || o.code == "NoSuchVersion":
		return exportops.FileResult{Removal: exportops.Absent}
	case o.code == "PreconditionFailed":
		return exportops.FileResult{Removal: exportops.Replaced, Err: errors.New("it was written again since it was looked at")}
	}
	return unproven(o.err)
}

func unproven(err error) exportops.FileResult {
	return exportops.FileResult{Removal: exportops.Unproven, Err: err}
}
