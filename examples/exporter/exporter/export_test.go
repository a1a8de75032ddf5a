package exporter

import "io"

// Wrap puts a writer of the test's between encoder and file.
func (x *Exporter) Wrap(wrap func(io.Writer) io.Writer) { x.wrap = wrap }
