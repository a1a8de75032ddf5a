// Package notify tells people what exportops has to say: it has the channels that
// messages go out by, and the heartbeats by which somebody else sees that jobs run.
//
//	alerting ─▶ outbox ─▶ Sender: claim ─▶ Slack, Mail, PagerDuty, Webhook, Alertmanager ─▶ a person
//	                         └─▶ settle: delivered, later, dead
//	run of a job ─▶ Heartbeats ─▶ Healthchecks, Cronitor
//
// A channel delivers a message or says why not. Whether it is sent again, and when,
// is decided by the Sender.
package notify
