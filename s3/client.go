package s3

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// newClient returns a client and what lets go of its idle connections.
func newClient(ctx context.Context, o Options) (*awss3.Client, func(), error) {
	load := []func(*config.LoadOptions) error{
		// Services other than AWS reject the checksums that are sent by default.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
		// Attempts are repeated here, where the number in flight is known.
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
		config.WithDefaultRegion(defaultRegion),
		config.WithLogger(logging.Nop{}), // what matters comes back as an error
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Transport != nil {
		load = append(load, config.WithHTTPClient(&http.Client{Transport: o.Transport}))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, nil, unavailable(
			"the settings for S3 in the environment or in the shared files cannot be read",
			"check the variables that begin with AWS_ and the files in ~/.aws", err)
	}
	closeIdle := func() {}
	if c, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok { // with AWS_CA_BUNDLE in it
		cfg.HTTPClient, closeIdle = ownClient(c)
	}
	client := awss3.NewFromConfig(cfg, func(so *awss3.Options) {
		so.UsePathStyle = o.PathStyle
		if o.Endpoint != "" {
			so.BaseEndpoint = aws.String(o.Endpoint)
		}
	})
	return client, closeIdle, nil
}

// ownClient keeps as many connections as there are requests in flight, and can
// be closed.
func ownClient(c *awshttp.BuildableClient) (*http.Client, func()) {
	t := c.GetTransport()
	t.MaxIdleConnsPerHost = atOnce
	return &http.Client{
		Transport: t,
		// A signature is good for one host: a redirect is an answer, not a way.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, t.CloseIdleConnections
}

// withMD5 sends a bulk request with the checksum that every service knows, and
// not with the newer one that the SDK would choose, which some refuse.
func withMD5(o *awss3.Options) {
	o.APIOptions = append(o.APIOptions, smithyhttp.AddContentChecksumMiddleware, func(stack *middleware.Stack) error {
		if _, err := stack.Initialize.Remove("AWSChecksum:SetupInputContext"); err != nil {
			return fmt.Errorf("leave out the SDK's checksum: %w", err)
		}
		return nil
	})
}
