package sqlite

import "github.com/exportops/exportops"

// released says of a hold that it is over and was about the user.
var released = `(released_at IS NOT NULL AND (subject = ?1 OR ` + named("reason") + `))`

// ruleWithout is the rule of an incident without the user. Of two open incidents whose
// rules are the same then, each stays one of its own.
var ruleWithout = without("rule") + ` || CASE WHEN ` + named("rule") + ` OR ` + named("subject") + ` THEN ' ' || id ELSE '' END`

// nameTraces are the places where others may have named the user, or the user is one of
// those who did something: what they are in stays.
var nameTraces = []trace{
	{
		exportops.TraceHeld, "",
		`SELECT id FROM exportops_holds WHERE id > CAST(?2 AS INTEGER) AND NOT ` + released + `
			AND (` + named("reason") + ` OR ` + named("placed_by") + ` OR ` + named("released_by") + `) ORDER BY id LIMIT ?3`,
		`UPDATE exportops_holds SET reason = ` + without("reason") + `, placed_by = ` + without("placed_by") + `,
			released_by = ` + without("released_by") + ` WHERE id` + oneOfIDs, nil,
	},
	{
		exportops.TraceSilence, "",
		`SELECT id FROM exportops_silences WHERE id > CAST(?2 AS INTEGER) AND (` + named("rule") + ` OR ` + named("subject") + `
			OR ` + named("reason") + ` OR ` + named("placed_by") + ` OR ` + named("ended_by") + `) ORDER BY id LIMIT ?3`,
		`UPDATE exportops_silences SET rule = ` + without("rule") + `, subject = ` + without("subject") + `, reason = ` + without("reason") + `,
			placed_by = ` + without("placed_by") + `, ended_by = ` + without("ended_by") + ` WHERE id` + oneOfIDs, nil,
	},
	{
		exportops.TraceIncident, "",
		`SELECT seq FROM exportops_incidents WHERE seq > CAST(?2 AS INTEGER) AND (` + named("rule") + ` OR ` + named("subject") + `
			OR ` + named("body") + `) ORDER BY seq LIMIT ?3`,
		// Whoever has read it before would write it again, but for the version.
		`UPDATE exportops_incidents SET rule = ` + ruleWithout + `, subject = ` + without("subject") + `, version = version + 1,
			body = json_set(` + without("body") + `, '$.rule', ` + ruleWithout + `) WHERE seq` + oneOfIDs, nil,
	},
	{
		exportops.TraceEvent, "",
		`SELECT seq FROM exportops_incident_events WHERE seq > CAST(?2 AS INTEGER) AND (` + named("by") + ` OR ` + named("note") + `)
			ORDER BY seq LIMIT ?3`,
		`UPDATE exportops_incident_events SET by = ` + without("by") + `, note = ` + without("note") + ` WHERE seq` + oneOfIDs, nil,
	},
	{
		exportops.TraceNotice, "",
		`SELECT seq FROM exportops_notifications WHERE seq > CAST(?2 AS INTEGER) AND (` + named("body") + ` OR ` + named("last_error") + `)
			ORDER BY seq LIMIT ?3`,
		`UPDATE exportops_notifications SET body = ` + without("body") + `, last_error = ` + without("last_error") + ` WHERE seq` + oneOfIDs, nil,
	},
	{
		exportops.TraceRetried, "",
		`SELECT id FROM exportops_deletions WHERE id > CAST(?2 AS INTEGER) AND ` + named("retried_by") + ` ORDER BY id LIMIT ?3`,
		// The chain holds on to it: the entry is linked anew.
		`UPDATE exportops_deletions SET retried_by = ` + without("retried_by") + `, ` + noLink + ` WHERE ` + named("retried_by") + ` AND id` + oneOfIDs,
		[]string{leaveLink + named("retried_by") + ` AND id` + oneOfIDs},
	},
	{
		exportops.TraceLost, "",
		`SELECT id FROM exportops_archives WHERE id > CAST(?2 AS INTEGER) AND ` + named("error") + ` ORDER BY id LIMIT ?3`,
		`UPDATE exportops_archives SET error = ` + without("error") + ` WHERE id` + oneOfIDs, nil,
	},
}
