package s3

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/exportops/exportops"
)

// keepsVersions asks whether what seems absent may only be hidden. Where the
// service knows no versions, or may not say, the answers to looks tell.
func (s *Store) keepsVersions(ctx context.Context, giveUp time.Time) (bool, error) {
	var out *awss3.GetBucketVersioningOutput
	err := s.send(ctx, giveUp, func(ctx context.Context) (err error) {
		out, err = s.client.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: &s.opts.Bucket})
		return err
	})
	switch {
	case err == nil:
		return out.Status != "", nil // enabled, or was before it was suspended
	case passing(err) || ctx.Err() != nil || code(err) == "NoSuchBucket":
		return false, s.fault(ctx, "looked at", "s3:GetBucketVersioning", err)
	}
	return false, nil
}

// judgeMarked settles the files that a delete marker hides: they are gone when
// no version of them is left.
func (s *Store) judgeMarked(ctx context.Context, b *batch) {
	marked := b.open(func(t *target) bool { return t.seen.marked })
	found := s.lookAtVersions(ctx, b.giveUp, keysOf(marked))
	for i, t := range marked {
		switch f := found[i]; {
		case f.err != nil:
			b.settle(t, unproven(fmt.Errorf("the bucket keeps versions: a delete marker hides the file, and whether its bytes are gone is not known: %w", f.err)))
		case f.exists:
			b.settle(t, unproven(fmt.Errorf("the bucket keeps versions: a delete marker hides the file, and its bytes remain (%d in %d versions); "+
				"set versions=delete in the storage URL to delete every version, or let a lifecycle rule of the bucket do it", f.total, len(f.versions))))
		case t.object == nil: // hidden before, and its versions are gone
			b.settle(t, exportops.FileResult{Removal: exportops.Absent})
		default:
			b.settle(t, t.removed())
		}
	}
}

// deleteVersions deletes every version of objects, and then the delete markers,
// which would else stay for good. Markers go last: one that goes before a version
// brings the file back.
func (s *Store) deleteVersions(ctx context.Context, b *batch) error {
	all := b.open(func(*target) bool { return true })
	failed := false
	for i, f := range s.lookAtVersions(ctx, b.giveUp, keysOf(all)) {
		b.judge(all[i], f)
		failed = failed || f.err != nil
	}
	if failed { // what of the bucket? A list that succeeds shows that it is there.
		if err := s.present(ctx, b.giveUp); err != nil {
			return err
		}
	}
	live := b.open(func(*target) bool { return true })
	versions, err := s.bulkVersions(ctx, b, live, func(f seen) []string { return f.versions })
	if err != nil {
		return err
	}
	for _, t := range live {
		for _, o := range versions[t] {
			// One that is not there any more is as good as deleted.
			if r := o.result(); r.Removal != exportops.Removed && r.Removal != exportops.Absent && len(t.at) > 0 {
				b.settle(t, unproven(fmt.Errorf("version %q: %w", o.version, r.Err)))
			}
		}
	}
	live = b.open(func(*target) bool { return true })
	// A marker that stays hides nothing: what became of it is no one's outcome.
	if _, err := s.bulkVersions(ctx, b, live, func(f seen) []string { return f.markers }); err != nil {
		return err
	}
	s.settleVersions(ctx, b, live)
	return nil
}

// settleVersions settles files whose versions are confirmed to be gone, after a
// last look where that is asked for.
func (s *Store) settleVersions(ctx context.Context, b *batch, live []*target) {
	found := make([]seen, len(live))
	if s.opts.VerifyFull {
		found = s.lookAtVersions(ctx, b.giveUp, keysOf(live))
	}
	for i, t := range live {
		switch f := found[i]; {
		case f.err != nil:
			b.settle(t, unproven(f.err))
		case f.exists:
			b.settle(t, unproven(errors.New("it is there after its deletion was confirmed: it was written again, or storage keeps it")))
		default:
			b.settle(t, exportops.FileResult{Removal: exportops.Removed, Bytes: t.seen.total})
		}
	}
}

func (s *Store) bulkVersions(ctx context.Context, b *batch, targets []*target, ids func(seen) []string) (map[*target][]*object, error) {
	objects := make(map[*target][]*object, len(targets))
	var all []*object
	for _, t := range targets {
		for _, version := range ids(t.seen) {
			objects[t] = append(objects[t], &object{key: t.key, version: version})
		}
		all = append(all, objects[t]...)
	}
	return objects, s.bulk(ctx, b.giveUp, all)
}

func (s *Store) lookAtVersions(ctx context.Context, giveUp time.Time, keys []string) []seen {
	found := make([]seen, len(keys))
	each(len(keys), func(i int) {
		f, err := s.versionsOf(ctx, giveUp, keys[i])
		if err != nil {
			f = seen{err: fmt.Errorf("look at its versions: %w", reason(err))}
		}
		found[i] = f
	})
	return found
}

// versionsOf lists the versions of one key, the newest of which is the file.
func (s *Store) versionsOf(ctx context.Context, giveUp time.Time, key string) (seen, error) {
	var f seen
	in := &awss3.ListObjectVersionsInput{Bucket: &s.opts.Bucket, Prefix: &key}
	for {
		var out *awss3.ListObjectVersionsOutput
		err := s.send(ctx, giveUp, func(ctx context.Context) (err error) {
			out, err = s.client.ListObjectVersions(ctx, in)
			return err
		})
		if err != nil {
			return f, err
		}
		f.add(out, key)
		// Longer keys come after this one.
		if !aws.ToBool(out.IsTruncated) || aws.ToString(out.NextKeyMarker) != key {
			return f, nil
		}
		if aws.ToString(out.NextVersionIdMarker) == aws.ToString(in.VersionIdMarker) {
			return f, errors.New("storage lists the same versions again and again")
		}
		in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
	}
}

func (f *seen) add(out *awss3.ListObjectVersionsOutput, key string) {
	for _, m := range out.DeleteMarkers {
		if aws.ToString(m.Key) == key {
			f.markers = append(f.markers, aws.ToString(m.VersionId))
		}
	}
	for _, v := range out.Versions {
		if aws.ToString(v.Key) != key {
			continue
		}
		written := aws.ToTime(v.LastModified).Truncate(time.Second)
		if !f.exists || written.After(f.written) {
			f.size, f.written, f.etag = aws.ToInt64(v.Size), written, aws.ToString(v.ETag)
		}
		f.exists = true
		f.total += aws.ToInt64(v.Size)
		f.versions = append(f.versions, aws.ToString(v.VersionId))
	}
}
