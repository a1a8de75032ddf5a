package storetest

import "testing"

func testLogs(*testing.T, func(testing.TB) Fixture) {}
