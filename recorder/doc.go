// Package recorder takes metrics from an application without ever making it
// wait, and hands them on in batches.
//
//	Log ──▶ bounded queue ──▶ batches by size or delay ──▶ Sink
//	          │ full                   │ refused              │ unavailable
//	          ▼                        ▼                      ▼
//	       dropped, counted     counted, with reason     tried again, until Close
//
// Every metric that was logged ends in exactly one count of Stats. What is lost
// is never silent: it is counted, handed to Options.OnLoss from the background,
// and named in the error of the next Flush or of Close.
package recorder
