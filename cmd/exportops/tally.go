package main

import "strings"

// tally prints the outcome of each test of a series, and the totals.
type tally struct {
	out            *printer
	passed, failed int
}

// pass records a test that passed; detail, "" for none, stands behind it.
func (t *tally) pass(name, detail string) {
	t.passed++
	if detail != "" {
		name += " (" + detail + ")"
	}
	t.out.printf("✅ PASSED: %s\n", name)
}

// fail records a test that failed.
func (t *tally) fail(name, why string) {
	t.failed++
	t.out.printf("❌ FAILED: %s: %s\n", name, oneLine(strings.ReplaceAll(why, "\n", "; ")))
}

// total prints the totals, and returns errSaid if any test failed.
func (t *tally) total() error {
	t.out.printf("\nTotal tests: %d\n✅ Passed: %d\n❌ Failed: %d\n", t.passed+t.failed, t.passed, t.failed)
	if t.failed > 0 {
		return errSaid
	}
	return nil
}
