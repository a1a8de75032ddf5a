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
	values := map[string]string{}
	var policy *exportops.Policy
	var section bool
	var channels []Channel
	var channelsRead bool
	var errs []error
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		at := fmt.Sprintf("%s:%d", path, key.Line)
		_, twice := values[key.Value]
		switch {
		case key.Value == policyKey && section:
			errs = append(errs, invalid(at, "retention is set twice", "keep one of them"))
		case key.Value == policyKey:
			section = true
			var err error
			policy, err = readPolicy(path, value)
			errs = append(errs, err)
		case key.Value == channelsKey && channelsRead:
			errs = append(errs, invalid(at, "channels is set twice", "keep one of them"))
		case key.Value == channelsKey:
			channelsRead = true
			var err error
			channels, err = readChannels(path, value)
			errs = append(errs, err)
		case known[key.Value] == "":
			errs = append(errs, unknownKey(at, key.Value, known))
		case twice:
			errs = append(errs, invalid(at, key.Value+" is set twice", "keep one of them"))
		case value.Kind != yaml.ScalarNode:
			errs = append(errs, invalid(at, key.Value+" holds more than one value", "write "+key.Value+": value"))
		case value.Tag != "!!null":
			values[key.Value] = value.Value
		}
	}
	return File{Values: values, Policy: policy, Channels: channels}, errors.Join(errs...)
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
