//go:build !race

package jobs_test

// raced is set where the race detector is on, which takes many times the
// memory.
const raced = false
