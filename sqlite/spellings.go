package sqlite

// spellings are the values of a column that are an id, which is SQL, in whichever
// case: ids are text here, and any program may have written them. They are found
// letter by letter. Whether anything begins with the letters so far and the next one,
// as a capital or as a small letter, is one look into the column's index; lower() of
// the column would read all of it. What longer values begin with is among them, so they
// are good for IN alone.
func spellings(table, column, id string) string {
	next := func(letter string) string {
		return ` UNION SELECT substr((SELECT min(x.` + column + `) FROM ` + table + ` x
			WHERE x.` + column + ` >= p.so_far || ` + letter + `(substr(p.id, length(p.so_far) + 1, 1))), 1, length(p.so_far) + 1), p.id
			FROM spelt p WHERE length(p.so_far) < length(p.id) AND lower(p.so_far) = substr(p.id, 1, length(p.so_far))`
	}
	return `WITH RECURSIVE spelt (so_far, id) AS (SELECT '', lower(` + id + `)` + next("upper") + next("lower") + `)
		SELECT so_far FROM spelt WHERE lower(so_far) = id`
}
