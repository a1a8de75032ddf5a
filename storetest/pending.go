package storetest

import "testing"

func testRuns(*testing.T, func(testing.TB) Fixture)      {}
func testDeletions(*testing.T, func(testing.TB) Fixture) {}
func testLogs(*testing.T, func(testing.TB) Fixture)      {}
