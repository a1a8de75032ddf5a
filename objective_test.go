package exportops_test

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/exportops/exportops"
)

func TestObjectives(t *testing.T) {
	ms := func(v float64) *float64 { return &v }
	quiet := exportops.ObjectiveFigures{}
	for name, over := range map[string][]exportops.ObjectiveFigures{
		"nothing_happened": {quiet, quiet, quiet},
		"kept": {
			quiet,
			{Exports: exportops.Figures{Completed: 98, Failed: 2, Measured: 90, AvgDurationMS: ms(1500)}, Gone: 10},
			{Exports: exportops.Figures{Completed: 9900, Failed: 100, InProgress: 7, Measured: 9000, AvgDurationMS: ms(750)}, Gone: 1999, NotGone: 1},
		},
		// At its target an objective is not met, and its budget is used up.
		"at_their_targets": {
			quiet, quiet,
			{Exports: exportops.Figures{Completed: 95, Failed: 5, Measured: 95, AvgDurationMS: ms(3000)}, Gone: 99, NotGone: 1},
		},
		"missed": {
			{Exports: exportops.Figures{Failed: 3}},
			{Exports: exportops.Figures{Completed: 5, Failed: 5, Measured: 5, AvgDurationMS: ms(9000)}, NotGone: 2},
			{Exports: exportops.Figures{Completed: 80, Failed: 20, Measured: 80, AvgDurationMS: ms(4500)}, Gone: 96, NotGone: 4},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(exportops.JudgeObjectives(over), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "objectives", name+".golden"), string(got)+"\n")
		})
	}
}
