package storetest

import "testing"

func testDeletions(*testing.T, func(testing.TB) Fixture) {}
func testLogs(*testing.T, func(testing.TB) Fixture)      {}
