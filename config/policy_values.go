package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/exportops/exportops"
)

// items are the values of a list, or the one value that stands for itself.
func items(n *yaml.Node) []*yaml.Node {
	if n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{n}
}

// scalar reads a value as JSON would have it.
func (r *policyReader) scalar(n *yaml.Node) (any, bool) {
	if n.Kind != yaml.ScalarNode {
		return nil, false
	}
	switch n.Tag {
	case "!!str":
		return n.Value, true
	case "!!bool":
		var b bool
		err := n.Decode(&b)
		return b, err == nil
	case "!!int", "!!float":
		var f float64
		err := n.Decode(&f)
		return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
	}
	return nil, false
}

// text reads one value that is not empty; "" after a mistake.
func (r *policyReader) text(n *yaml.Node, name string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
		r.wrong(n, name+" is not one value", "write "+name+": value")
		return ""
	}
	return n.Value
}

func listOf[T ~string](r *policyReader, n *yaml.Node, name string) (all []T) {
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		r.wrong(n, name+" names no value", "give it a value, or leave it out")
	}
	for _, item := range items(n) {
		if v := r.text(item, name); v != "" {
			all = append(all, T(v))
		}
	}
	return all
}

func (r *policyReader) retention(n *yaml.Node, at string) exportops.Retention {
	name := at[strings.LastIndexByte(at, '.')+1:]
	switch s := r.text(n, name); s {
	case "":
	case "never":
		return exportops.Never
	default:
		if d, ok := length(s); ok && d > 0 {
			return exportops.KeepFor(d)
		}
		r.wrong(n, fmt.Sprintf("%s: %q is not a duration", name, s), "use a duration such as 24h, 30d or 1d12h, or never")
	}
	return exportops.Retention{}
}

func (r *policyReader) duration(n *yaml.Node, name string) time.Duration {
	s := r.text(n, name)
	d, ok := length(s)
	if s != "" && (!ok || d <= 0) {
		r.wrong(n, fmt.Sprintf("%s: %q is not a duration", name, s), "use a duration such as 24h, 30d or 1d12h")
	}
	return d
}

// units of sizes, longest names first.
var units = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
}

// size reads a whole number of bytes, with a unit.
func (r *policyReader) size(n *yaml.Node, name string) *int64 {
	s := r.text(n, name)
	digits, factor := s, int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			digits, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	v, err := strconv.ParseUint(digits, 10, 62)
	if err != nil || v > math.MaxInt64/2/uint64(factor) {
		if s != "" {
			r.wrong(n, fmt.Sprintf("%s: %q is not a size", name, s), "use a whole number with a unit, such as 100MB or 1GiB")
		}
		return nil
	}
	bytes := int64(v) * factor
	return &bytes
}
