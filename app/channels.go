package app

import (
	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
)

// channels returns what is told of incidents, by name, and what each wants to hear.
func channels(config.Config) (map[string]exportops.Channel, []exportops.Audience, error) {
	return nil, nil, nil
}
