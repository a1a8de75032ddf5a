package archive

import (
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/format"
)

// thrifty compresses with Zstandard and a window of a page's size. That of
// parquet-go keeps one of eight megabytes, twice, for pages that are not nearly as
// long; the files are the same size.
type thrifty struct{ encoder *zstd.Encoder }

var _ compress.Codec = thrifty{}

func newThrifty() thrifty {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(2*pageBytes), zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // the options are constants
	}
	return thrifty{e}
}

func (thrifty) String() string { return "ZSTD" }

func (thrifty) CompressionCodec() format.CompressionCodec { return format.Zstd }

func (c thrifty) Encode(dst, src []byte) ([]byte, error) {
	return c.encoder.EncodeAll(src, dst[:0]), nil
}

// Decode is not called by a writer.
func (thrifty) Decode(dst, src []byte) ([]byte, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.DecodeAll(src, dst[:0])
}
