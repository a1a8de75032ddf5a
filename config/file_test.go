package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// parse reads the settings as the program does.
func parse(t *testing.T, file string, args ...string) config.Settings {
	t.Helper()
	read, err := config.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var cli struct {
		config.Settings `embed:""`
	}
	parser, err := kong.New(&cli, kong.Resolvers(config.Resolver(read.Values)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return cli.Settings
}

func TestFlagBeatsEnvironmentBeatsFile(t *testing.T) {
	file := write(t, "addr: 127.0.0.1:1\nlog_retention: 10d\n")
	if got := parse(t, file).Addr; got != "127.0.0.1:1" {
		t.Errorf("from the file: %q", got)
	}
	t.Setenv("EXPORTOPS_ADDR", "")
	if got := parse(t, file).Addr; got != "127.0.0.1:1" {
		t.Errorf("beside an empty variable: %q", got)
	}
	t.Setenv("EXPORTOPS_ADDR", "127.0.0.1:2")
	if got := parse(t, file).Addr; got != "127.0.0.1:2" {
		t.Errorf("from the environment: %q", got)
	}
	if got := parse(t, file, "--addr", "127.0.0.1:3").Addr; got != "127.0.0.1:3" {
		t.Errorf("from the flag: %q", got)
	}
	if got := parse(t, file).LogRetention; got != "10d" {
		t.Errorf("what only the file sets: %q", got)
	}
}

func TestNoFileIsFineUnlessItWasNamed(t *testing.T) {
	t.Chdir(t.TempDir())
	if read, err := config.ReadFile(""); err != nil || len(read.Values) > 0 {
		t.Errorf("without a file: %v, %v", read, err)
	}
	if _, err := config.ReadFile("missing.yaml"); err == nil || !strings.Contains(err.Error(), "missing.yaml") {
		t.Errorf("a named file that is missing: %v", err)
	}
	if err := os.WriteFile(config.DefaultFile, []byte("addr: :9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if read, err := config.ReadFile(""); err != nil || read.Values["addr"] != ":9" {
		t.Errorf("the default file: %v, %v", read, err)
	}
}

func TestMistakesInTheFile(t *testing.T) {
	for name, c := range map[string]struct{ text, says, hint string }{
		"a misspelt key":         {"addr: :1\nlog_retentoin: 30d\n", `:2: there is no setting "log_retentoin"`, "did you mean log_retention?"},
		"the variable as a key":  {"EXPORT_LOG_RETENTION: 30d\n", `"EXPORT_LOG_RETENTION"`, "did you mean log_retention?"},
		"the wrong case":         {"Addr: :1\n", `"Addr"`, "did you mean addr?"},
		"nothing like it":        {"favourite_colour: blue\n", `"favourite_colour"`, "exportops.example.yaml"},
		"twice":                  {"addr: :1\naddr: :2\n", "addr is set twice", "keep one"},
		"a list":                 {"addr: [a, b]\n", "more than one value", "addr: value"},
		"sections":               {"server:\n  addr: :1\n", `"server"`, "exportops.example.yaml"},
		"a list of settings":     {"- addr\n", "not a list of settings", "key: value"},
		"what YAML cannot be":    {"addr: 'x\n", "settings.yaml", "key: value"},
		"a tab":                  {"addr:\n\t- x\n", "settings.yaml", "key: value"},
		"a reference to a value": {"addr: &a :1\nlogs_table: *a\n", "more than one value", "logs_table: value"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.ReadFile(write(t, c.text))
			var e *exportops.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if said := e.Error() + "; " + e.Hint; !strings.Contains(said, c.says) || !strings.Contains(said, c.hint) {
				t.Errorf("got %q, want %q and %q", said, c.says, c.hint)
			}
		})
	}
}

func TestValuesBesideMistakesAreKept(t *testing.T) {
	read, err := config.ReadFile(write(t, "nonsense: 1\naddr: :1\nscheduler: off\nlog_retention: ~\n"))
	if err == nil {
		t.Error("nonsense is accepted")
	}
	if diff := cmp.Diff(map[string]string{"addr": ":1", "scheduler": "off"}, read.Values); diff != "" {
		t.Error(diff)
	}
	for _, empty := range []string{"", "# nothing\n", "---\n", "~\n"} {
		if read, err := config.ReadFile(write(t, empty)); err != nil || len(read.Values) > 0 || read.Policy != nil {
			t.Errorf("%q: %v, %v", empty, read, err)
		}
	}
}

func TestExampleFileHoldsTheDefaultsAndEverySetting(t *testing.T) {
	const example = "../exportops.example.yaml"
	if diff := cmp.Diff(config.Defaults(), parse(t, example)); diff != "" {
		t.Errorf("it differs from the defaults:\n%s", diff)
	}
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	var cli struct {
		config.Settings `embed:""`
	}
	parser, err := kong.New(&cli, kong.NoDefaultHelp())
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range parser.Model.Flags {
		key := strings.ReplaceAll(flag.Name, "-", "_")
		if !regexp.MustCompile(`(?m)^#?` + key + `: `).Match(text) {
			t.Errorf("%s is not in it", key)
		}
		env := strings.TrimSuffix(flag.Envs[0], "_PREVIOUS")
		if !strings.Contains(string(text), env) {
			t.Errorf("%s is not in it", env)
		}
	}
	// What is commented out is spelt right, too.
	if _, err := config.ReadFile(write(t, regexp.MustCompile(`(?m)^#([a-z_]+: )`).ReplaceAllString(string(text), "$1"))); err != nil {
		t.Error(err)
	}
}
