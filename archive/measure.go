package archive

import (
	"context"

	"github.com/exportops/exportops"
)

// Measure finds out what archives of rows would take, and writes nothing.
type Measure struct {
	keeper *Keeper
	writer *Writer
	bytes  counter
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// Measure begins to measure rows as one archive.
func (k *Keeper) Measure() exportops.ArchiveMeasure {
	m := &Measure{keeper: k}
	m.writer = NewWriter(&m.bytes)
	return m
}

// Add reads rows by their ids, and returns those that cannot be archived.
func (m *Measure) Add(ctx context.Context, ids []string) (left []string, err error) {
	for len(ids) > 0 {
		read, unfit, err := m.keeper.each(ctx, ids, m.writer.Write)
		if err != nil {
			return left, err
		}
		left, ids = append(left, unfit...), ids[read:]
	}
	return left, nil
}

// Bytes ends the measurement.
func (m *Measure) Bytes() (int64, error) {
	s, err := m.writer.Close()
	if s.Rows == 0 {
		return 0, err // there would be no archive
	}
	return s.Bytes, err
}
