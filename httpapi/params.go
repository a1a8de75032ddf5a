package httpapi

import (
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

// checkQuery refuses parameters that an operation does not have, and those that
// are empty or given twice: a misspelt dry_run must not delete. Health checks,
// which probes decorate as they like, are left alone.
func (s *server) checkQuery(ctx huma.Context, next func(huma.Context)) {
	c, op := callOf(ctx.Context()), ctx.Operation()
	if len(op.Security) == 0 {
		next(ctx)
		return
	}
	if err := checkQuery(c.r, op); err != nil {
		s.problem(ctx.Context(), inQuery(err)).write(c.w)
		return
	}
	next(ctx)
}

func checkQuery(r *http.Request, op *huma.Operation) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return &exportops.Error{Kind: exportops.KindInvalid, Message: "the query of the URL is malformed", Err: err}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		known := slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.In == "query" && p.Name == name })
		values := query[name]
		switch {
		case !known:
			return exportops.Invalid(shortName(name), "there is no such parameter here")
		case len(values) > 1:
			return exportops.Invalid(name, "given %d times", len(values))
		case values[0] == "":
			return exportops.Invalid(name, "empty; leave it out or give a value")
		}
	}
	return nil
}
