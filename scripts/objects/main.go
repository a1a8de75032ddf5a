// Command objects makes, counts and deletes the objects of
// scripts/compare-servers.sh: the bare loop of bulk deletes that cleanups are
// compared with.
//
//	objects ENDPOINT BUCKET make|put N|delete|count|far DELAY
//
// far serves the endpoint as if it were far away: it prints where, and lets each request
// for a bulk delete wait.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

type bucket struct {
	*s3.Client
	name *string
}

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "objects:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 3 {
		return errors.New("usage: objects ENDPOINT BUCKET make|put N|delete|count|far DELAY")
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion("us-east-1"))
	if err != nil {
		return err
	}
	b := bucket{s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.BaseEndpoint, o.UsePathStyle = aws.String(args[0]), true
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	}), aws.String(args[1])}
	switch args[2] {
	case "make":
		_, err := b.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: b.name})
		var mine *types.BucketAlreadyOwnedByYou
		if errors.As(err, &mine) {
			return nil
		}
		return err
	case "put":
		n, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		return b.put(ctx, n)
	case "far":
		return far(ctx, args[0], args[3])
	case "delete":
		return b.pages(ctx, b.deletePage)
	case "count":
		total := 0
		err := b.pages(ctx, func(_ context.Context, page []types.Object) error { total += len(page); return nil })
		_, printed := fmt.Fprintln(os.Stdout, total)
		return errors.Join(err, printed)
	}
	return fmt.Errorf("there is no command %q", args[2])
}

// put writes objects as compare-files.sql names them.
func (b bucket) put(ctx context.Context, n int) error {
	var wg sync.WaitGroup
	next, failed := make(chan int), make(chan error, 16)
	for range cap(failed) {
		wg.Go(func() {
			for i := range next {
				_, err := b.PutObject(ctx, &s3.PutObjectInput{
					Bucket: b.name, Key: aws.String(fmt.Sprintf("user-%d/%d.json", i%100, i)), Body: strings.NewReader(strings.Repeat("x", 512)),
				})
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for i := range n {
		select {
		case next <- i:
		case err := <-failed:
			return err
		}
	}
	close(next)
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// pages hands out all there is, a thousand at a time.
func (b bucket) pages(ctx context.Context, do func(context.Context, []types.Object) error) error {
	list := s3.NewListObjectsV2Paginator(b.Client, &s3.ListObjectsV2Input{Bucket: b.name})
	for list.HasMorePages() {
		page, err := list.NextPage(ctx)
		if err != nil {
			return err
		}
		if err := do(ctx, page.Contents); err != nil {
			return err
		}
	}
	return nil
}

// deletePage is one request of the bare loop.
func (b bucket) deletePage(ctx context.Context, page []types.Object) error {
	if len(page) == 0 {
		return nil
	}
	ids := make([]types.ObjectIdentifier, len(page))
	for i, o := range page {
		ids[i].Key = o.Key
	}
	out, err := b.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: b.name, Delete: &types.Delete{Objects: ids}})
	if err == nil && len(out.Errors) > 0 {
		err = fmt.Errorf("%d of %d objects stay: %s", len(out.Errors), len(page), aws.ToString(out.Errors[0].Message))
	}
	return err
}

// far stands between a client and the endpoint until it is killed.
func far(ctx context.Context, endpoint, delay string) error {
	wait, err := time.ParseDuration(delay)
	if err != nil {
		return err
	}
	to, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		if r.In.URL.Query().Has("delete") {
			time.Sleep(wait)
		}
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is signed
	}}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(os.Stdout, "http://%s\n", l.Addr()); err != nil {
		return err
	}
	return (&http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}).Serve(l)
}
