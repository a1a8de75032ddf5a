package config

import (
	"os"

	"github.com/alecthomas/kong"
)

// Resolver hands kong the values of the settings file for flags that neither
// the command line nor the environment sets. An empty variable counts as
// unset: that is how compose files and cron services write "none".
func Resolver(values map[string]string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, name := range flag.Envs {
			if os.Getenv(name) != "" {
				return nil, nil
			}
		}
		if v, ok := values[keyOf(flag.Name)]; ok && v != "" {
			return v, nil
		}
		return nil, nil
	})
}
