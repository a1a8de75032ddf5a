package scheduler

import "time"

// In hours of a clock of their own, the tests would do little else than poll.
func init() { pollEvery = 8 * time.Second }
