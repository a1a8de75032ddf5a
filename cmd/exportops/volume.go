package main

import (
	"context"
	"strings"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/metrics"
)

type volumeCmd struct {
	Period string `name:"period" enum:"hourly,daily" default:"daily" placeholder:"hourly|daily" help:"of each count (${default})"`
	Days   int    `name:"days" default:"7" placeholder:"N" help:"how many days up to now (${default})"`
}

// Run shows the number of exports of each period that ends now.
func (c *volumeCmd) Run(e *env) error {
	if c.Days < 1 {
		return &usageError{exportops.Invalid("--days", "%d is below 1", c.Days)}
	}
	return e.reading(func(ctx context.Context, m *metrics.Service) error {
		v, err := m.Volume(ctx, exportops.Period(c.Period), c.Days)
		if err != nil {
			return err
		}
		return e.show(v, func() {
			var most int64 = 1
			for _, p := range v.VolumeData {
				most = max(most, p.Count)
			}
			rows := make([][]string, len(v.VolumeData))
			for i, p := range v.VolumeData {
				rows[i] = []string{p.Period, number(p.Count), strings.Repeat("█", int(40*p.Count/most))}
			}
			e.table("exports", []string{"period (UTC)", "exports", ""}, rows)
		})
	})
}
