// Package exportops is the domain of exportops: what an export, a metric, a
// rollup, a run and an entry of the deletion ledger are, what each of them
// must satisfy, and what a store has to offer to keep them. It imports the
// standard library alone.
//
// A row of data walks through the house like this:
//
//	application ─metric─▶ httpapi, client ─▶ metrics ─▶ store ─▶ rollups ─▶ summaries
//	            └─writes export_logs ─────────────────▶ store
//	                                                      │
//	schedule, cron call, command ─▶ jobs ─▶ cleanup: judge ─▶ claim ─▶ file store ─▶ settle
//
//	aggregation, interval ─▶ alerting: figures ─▶ rules ─▶ incidents ─▶ outbox ─▶ notify ─▶ channels
//
// Decisions are pure functions here ([Selection.Judge], [JudgeRow],
// [Locator.Resolve]); the packages metrics and cleanup act on them through the
// interfaces declared beside each concept; sqlite and disk implement those.
package exportops
