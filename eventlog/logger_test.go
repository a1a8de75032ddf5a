package eventlog_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/exportops/exportops/eventlog"
)

func TestErrorsInTheProgramsOwnLogAreScrubbed(t *testing.T) {
	err := fmt.Errorf("insert: %w", errors.New("row (jane@example.com, https://x.example/a?token=abc) is there\n{\"level\":\"forged\"}"))
	for name, text := range map[string]bool{"json": false, "text": true} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			log := eventlog.NewLogger(&out, text)
			log.Error("could not be stored", slog.Any("error", err), slog.Group("in", slog.Any("cause", err)), slog.Int("rows", 3))
			said := out.String()
			for _, secret := range []string{"jane", "token=abc"} {
				if strings.Contains(said, secret) {
					t.Errorf("it says %q: %s", secret, said)
				}
			}
			for _, kept := range []string{"could not be stored", "[email]", "3"} {
				if !strings.Contains(said, kept) {
					t.Errorf("it does not say %q: %s", kept, said)
				}
			}
			if n := strings.Count(said, "\n"); n != 1 || !strings.HasSuffix(said, "\n") {
				t.Errorf("one message became %d lines: %s", n, said)
			}
		})
	}
}
