package postgres

import "github.com/exportops/exportops"

// released says of a hold h that it is over and was about the user.
var released = `(h.released_at IS NOT NULL AND (coalesce(h.subject = $1::text::uuid, false) OR ` + named("h.reason") + `))`

// ruleWithout is the rule of an incident i without the user. Of two open incidents whose
// rules are the same then, each stays one of its own.
var ruleWithout = `(` + without("i.rule") + ` || CASE WHEN ` + named("i.rule") + ` OR ` + named("i.subject") + ` THEN ' ' || i.id::text ELSE '' END)`

const oneOfIDs = ` = ANY($2::text[]::bigint[])`

// nameTraces are the places where others may have named the user, or the user is one of
// those who did something: what they are in stays.
var nameTraces = []trace{
	{
		exportops.TraceHeld, "",
		`SELECT h.id::text FROM exportops.holds h WHERE h.id > $2::text::bigint AND NOT ` + released + `
			AND (` + named("h.reason") + ` OR ` + named("h.placed_by") + ` OR ` + named("h.released_by") + `) ORDER BY h.id LIMIT $3`, `0`,
		`UPDATE exportops.holds AS h SET reason = ` + without("h.reason") + `, placed_by = ` + without("h.placed_by") + `,
			released_by = ` + without("h.released_by") + ` WHERE h.id` + oneOfIDs, nil,
	},
	{
		exportops.TraceSilence, "",
		`SELECT q.id::text FROM exportops.silences q WHERE q.id > $2::text::bigint AND (` + named("q.rule") + ` OR ` + named("q.subject") + `
			OR ` + named("q.reason") + ` OR ` + named("q.placed_by") + ` OR ` + named("q.ended_by") + `) ORDER BY q.id LIMIT $3`, `0`,
		`UPDATE exportops.silences AS q SET rule = ` + without("q.rule") + `, subject = ` + without("q.subject") + `, reason = ` + without("q.reason") + `,
			placed_by = ` + without("q.placed_by") + `, ended_by = ` + without("q.ended_by") + ` WHERE q.id` + oneOfIDs, nil,
	},
	{
		exportops.TraceIncident, "",
		`SELECT i.seq::text FROM exportops.incidents i WHERE i.seq > $2::text::bigint AND (` + named("i.rule") + ` OR ` + named("i.subject") + `
			OR ` + named("i.body") + `) ORDER BY i.seq LIMIT $3`, `0`,
		// Whoever has read it before would write it again, but for the version.
		`UPDATE exportops.incidents AS i SET rule = ` + ruleWithout + `, subject = ` + without("i.subject") + `, version = i.version + 1,
			body = jsonb_set(` + without("i.body") + `::jsonb, '{rule}', to_jsonb(` + ruleWithout + `)) WHERE i.seq` + oneOfIDs, nil,
	},
	{
		exportops.TraceEvent, "",
		`SELECT v.seq::text FROM exportops.incident_events v WHERE v.seq > $2::text::bigint AND (` + named("v.by") + ` OR ` + named("v.note") + `)
			ORDER BY v.seq LIMIT $3`, `0`,
		`UPDATE exportops.incident_events AS v SET by = ` + without("v.by") + `, note = ` + without("v.note") + ` WHERE v.seq` + oneOfIDs, nil,
	},
	{
		exportops.TraceNotice, "",
		`SELECT n.seq::text FROM exportops.notifications n WHERE n.seq > $2::text::bigint AND (` + named("n.body") + ` OR ` + named("n.last_error") + `)
			ORDER BY n.seq LIMIT $3`, `0`,
		`UPDATE exportops.notifications AS n SET body = ` + without("n.body") + `::jsonb, last_error = ` + without("n.last_error") + `
			WHERE n.seq` + oneOfIDs, nil,
	},
	{
		exportops.TraceRetried, "",
		`SELECT d.id::text FROM exportops.deletions d WHERE d.id > $2::text::bigint AND ` + named("d.retried_by") + ` ORDER BY d.id LIMIT $3`, `0`,
		// The chain holds on to it: the entry is linked anew.
		`WITH old AS MATERIALIZED (` + oldLinks + ` WHERE o.id` + oneOfIDs + ` AND ` + named("o.retried_by") + ` ORDER BY o.id FOR NO KEY UPDATE),
			changed AS (UPDATE exportops.deletions AS d SET retried_by = ` + without("d.retried_by") + `, ` + noLink + `
				FROM old WHERE d.id = old.id RETURNING ` + oldLink + `),
			kept AS (` + keepLinks + `)
			SELECT c.id FROM changed c`, nil,
	},
	{
		exportops.TraceLost, "",
		`SELECT a.id::text FROM exportops.archives a WHERE a.id > $2::text::bigint AND ` + named("a.error") + ` ORDER BY a.id LIMIT $3`, `0`,
		`UPDATE exportops.archives AS a SET error = ` + without("a.error") + ` WHERE a.id` + oneOfIDs, nil,
	},
}
