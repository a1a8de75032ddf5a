package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/exportops/exportops"
)

// DefaultFile is read where it exists and no other file is named.
const DefaultFile = "exportops.yaml"

// File is what a settings file says.
type File struct {
	Values map[string]string // by key
	Policy *exportops.Policy // of retention; nil where there is none
	// Rules are the alert rules that hold by the section alerts; nil where there is
	// none.
	Rules []exportops.AlertRule
	// Channels are told of incidents, or sent summaries.
	Channels []Channel
}

// ReadFile reads a settings file. With an empty path it reads DefaultFile, and
// nothing where there is none. The values that could be read are returned beside
// the error, so that mistakes in the file and in the values can be reported
// together.
func ReadFile(path string) (File, error) {
	named := path != ""
	if !named {
		path = DefaultFile
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return File{}, nil
	case err != nil:
		return File{}, &exportops.Error{
			Kind: exportops.KindInvalid, Field: "EXPORTOPS_CONFIG", Message: "the settings file cannot be read", Err: err,
			Hint: "name a file that exists, or none",
		}
	}
	return parseFile(path, string(text))
}

func parseFile(path, text string) (File, error) {
	var doc yaml.Node
	if err := yaml.NewDecoder(strings.NewReader(text)).Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) { // nothing but comments
			return File{}, nil
		}
		return File{}, invalid(path, strings.TrimPrefix(err.Error(), "yaml: "), "write one key: value a line")
	}
	top := doc.Content[0]
	if top.Kind == yaml.ScalarNode && top.Tag == "!!null" {
		return File{}, nil
	}
	if top.Kind != yaml.MappingNode {
		return File{}, invalid(path, "it is not a list of settings", "write one key: value a line")
	}
	known := keys()
	f := File{Values: map[string]string{}}
	// Sections hold more than one value, and are read here alone.
	sections := map[string]func(*yaml.Node) error{
		policyKey:   func(n *yaml.Node) (err error) { f.Policy, err = readPolicy(path, n); return err },
		alertsKey:   func(n *yaml.Node) (err error) { f.Rules, err = readRules(path, n); return err },
		channelsKey: func(n *yaml.Node) (err error) { f.Channels, err = readChannels(path, n); return err },
	}
	seen := map[string]bool{}
	var errs []error
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i].Value, top.Content[i+1]
		at := fmt.Sprintf("%s:%d", path, top.Content[i].Line)
		read := sections[key]
		switch {
		case read == nil && known[key] == "":
			errs = append(errs, unknownKey(at, key, known))
		case seen[key]:
			errs = append(errs, invalid(at, key+" is set twice", "keep one of them"))
		case read != nil:
			errs = append(errs, read(value))
		case value.Kind != yaml.ScalarNode:
			errs = append(errs, invalid(at, key+" holds more than one value", "write "+key+": value"))
		case value.Tag != "!!null":
			f.Values[key] = value.Value
		}
		seen[key] = true
	}
	return f, errors.Join(errs...)
}

func unknownKey(at, key string, known map[string]string) error {
	best, distance := "", 1+len(key)/3
	for k, env := range known {
		if strings.EqualFold(env, key) {
			best = k
			break
		}
		if d := editDistance(strings.ToLower(key), k); d < distance || (d == distance && k < best) {
			best, distance = k, d
		}
	}
	hint := "exportops.example.yaml lists every key"
	if best != "" {
		hint = "did you mean " + best + "?"
	}
	return invalid(at, fmt.Sprintf("there is no setting %q", key), hint)
}

// keys returns every key of the file with the variable of the environment that
// means the same.
func keys() map[string]string {
	all := map[string]string{}
	t := reflect.TypeFor[Settings]()
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		all[keyOf(tag.Get("name"))] = tag.Get("env")
	}
	return all
}

func keyOf(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// editDistance counts the letters to insert, delete or replace (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, before+1, row[j]+1)
		}
	}
	return row[len(b)]
}
