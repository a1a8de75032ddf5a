package jobs

import (
	"context"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
)

// register records archives that the database does not know.
func (r *Runner) register(ctx context.Context, work cleanup.Work, res *exportops.RegisterResult) (ending, error) {
	err := r.cleaner.RegisterArchives(ctx, work, res)
	return registerEnding(res), unlessDone(ctx, err)
}

func (r *Runner) checkArchives(req Request) error {
	if req.Job != exportops.RegisterArchives || r.Archives != nil {
		return nil
	}
	return &exportops.Error{
		Kind: exportops.KindInvalid, Field: "EXPORT_ARCHIVE_URL", Message: "no storage for archives is configured",
		Hint: "name it in EXPORT_ARCHIVE_URL, or its bucket in EXPORT_ARCHIVE_BUCKET",
	}
}

func registerEnding(res *exportops.RegisterResult) ending {
	res.Fill()
	return ending{
		value: res, failed: res.LeftTotal, complete: res.Complete,
		failure: "there are archives that somebody has to see to",
		stamp: func(run exportops.Run, now exportops.Time) {
			res.RunID, res.Timestamp, res.DurationMS = run.ID, now, now.Sub(run.StartedAt.Time).Milliseconds()
		},
	}
}
