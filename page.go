package exportops

import "strconv"

// PageSize bounds how many entries of a list are asked for at once: 0 means
// DefaultPage, and MaxPage is the most.
func PageSize(limit int) int {
	if limit <= 0 {
		return DefaultPage
	}
	return min(limit, MaxPage)
}

// PageBefore reads the cursor of a list that goes from the latest entry to the first:
// the number before which the page begins, any for "". It is KindInvalid where that is
// no number.
func PageBefore(cursor string) (int64, error) {
	if cursor == "" {
		return 1 << 62, nil
	}
	before, err := strconv.ParseInt(cursor, 10, 64)
	if err != nil {
		return 0, Invalid("cursor", "%s is not a cursor of this list", quoteShort(cursor))
	}
	return before, nil
}
