package httpapi

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
)

// Archives reads the records of archives, and the chain of the ledger.
type Archives interface {
	Archive(ctx context.Context, id int64) (exportops.Archive, error)
	Archives(ctx context.Context, f exportops.ArchiveFilter) ([]exportops.Archive, error)
	exportops.ChainReader
}

// Keeper reads archives back; *archive.Keeper satisfies it.
type Keeper interface {
	Audit(ctx context.Context, sample int) (archive.Audit, error)
	Verify(ctx context.Context, a exportops.Archive) (fault string, err error)
	Search(ctx context.Context, q archive.Query) iter.Seq2[archive.Found, error]
}

type archivePath struct {
	ID int64 `path:"id" minimum:"1" doc:"The archive"`
}

type archivesInput struct {
	State  exportops.ArchiveState `query:"state" enum:"intended,written,verified,deleting,done,abandoned,replaced,removed,lost" doc:"Only in this state"`
	Limit  int                    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Archives a page"`
	Cursor string                 `query:"cursor" maxLength:"512" doc:"next_cursor of the page before; opaque"`
}

type verifyInput struct {
	Sample int `query:"sample" minimum:"1" maximum:"100000" doc:"So many of them, chosen at random, instead of all"`
}

type searchInput struct {
	UserID   string           `query:"user_id" format:"uuid" doc:"Only this user's"`
	ExportID string           `query:"export_id" format:"uuid" doc:"Only of this export"`
	Format   exportops.Format `query:"format" enum:"json,jsonl,csv,markdown" doc:"Only of this format"`
	From     exportops.Time   `query:"from" format:"date-time" doc:"Asked for at this time or later"`
	To       exportops.Time   `query:"to" format:"date-time" doc:"Asked for before this time"`
	Limit    int              `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Rows a page"`
	Cursor   string           `query:"cursor" maxLength:"512" doc:"next_cursor of the page before; opaque"`
}

type (
	archiveOutput  struct{ Body exportops.Archive }
	archivesOutput struct {
		Body struct {
			Archives   []exportops.Archive `json:"archives" nullable:"false" doc:"Newest first"`
			NextCursor string              `json:"next_cursor" doc:"Cursor of the next page; empty at the end"`
		} `nameHint:"ArchivePage"`
	}
	searchOutput struct {
		Body struct {
			Rows       []archive.Found `json:"rows" nullable:"false" doc:"From the oldest archive on"`
			NextCursor string          `json:"next_cursor" doc:"Cursor of the next page; empty at the end"`
		} `nameHint:"ArchivedPage"`
	}
	verifyOutput struct {
		Body struct {
			OK       bool                  `json:"ok" doc:"Every archive that was read, and the ledger, is as it was written"`
			Archives archive.Audit         `json:"archives"`
			Ledger   exportops.ChainReport `json:"ledger"`
		} `nameHint:"Verification"`
	}
	verifyOneOutput struct {
		Body struct {
			OK      bool              `json:"ok" doc:"It is as it was written"`
			Fault   string            `json:"fault,omitempty" doc:"What is wrong with it"`
			Archive exportops.Archive `json:"archive"`
		} `nameHint:"ArchiveVerification"`
	}
)

func (s *server) archiveRoutes() {
	op := func(id, method, path, summary, scope string, errors ...int) huma.Operation {
		o := huma.Operation{
			OperationID: id, Method: method, Path: "/api/v1/archives" + path, Summary: summary, Tags: []string{tagArchives}, Security: needs(scope),
		}
		s.problems(&o, append(errors, http.StatusBadRequest, http.StatusUnauthorized)...)
		return o
	}
	handle(s, op("list-archives", http.MethodGet, "", "List archives of log rows", scopeRead), s.archives)
	handle(s, op("get-archive", http.MethodGet, "/{id}", "Read one archive's record", scopeRead, http.StatusNotFound), s.archive)
	search := op("search-archives", http.MethodGet, "/search", "Find archived log rows", scopeRead, http.StatusConflict, http.StatusServiceUnavailable)
	search.Description = "Every archive that may hold a row is read: from and to make it quick."
	handle(s, search, s.searchArchives)
	all := op("verify-archives", http.MethodPost, "/verify", "Read archives back and compare them with what was written", scopeAdmin,
		http.StatusConflict, http.StatusServiceUnavailable)
	all.Description = "With the chain of the deletion ledger. It takes as long as reading the archives does: name a sample where there are many."
	handle(s, all, s.verifyArchives)
	handle(s, op("verify-archive", http.MethodPost, "/{id}/verify", "Read one archive back", scopeAdmin,
		http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable), s.verifyArchive)
}

func (s *server) archive(ctx context.Context, in *archivePath) (*archiveOutput, error) {
	a, err := s.Archives.Archive(ctx, in.ID)
	return &archiveOutput{a}, err
}

func (s *server) archives(ctx context.Context, in *archivesInput) (*archivesOutput, error) {
	f := exportops.ArchiveFilter{State: in.State, Limit: in.Limit}
	var err error
	if f.Before, err = numberCursor(in.Cursor); err != nil {
		return nil, err
	}
	page, err := s.Archives.Archives(ctx, f)
	if err != nil {
		return nil, inQuery(err)
	}
	out := &archivesOutput{}
	if out.Body.Archives = orEmpty(page); len(page) > 0 && len(page) == in.Limit {
		out.Body.NextCursor = strconv.FormatInt(page[len(page)-1].ID, 10)
	}
	return out, nil
}

func numberCursor(cursor string) (int64, error) {
	if cursor == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(cursor, 10, 64)
	if err != nil || n < 1 {
		return 0, inQuery(exportops.Invalid("cursor", "it is none that was returned with a page"))
	}
	return n, nil
}

// keeper returns what reads archives back.
func (s *server) keeper() (Keeper, error) {
	if s.Keeper != nil {
		return s.Keeper, nil
	}
	return nil, &exportops.Error{
		Kind: exportops.KindConflict, Message: "no storage for archives is configured",
		Hint: "name it in EXPORT_ARCHIVE_URL, or its bucket in EXPORT_ARCHIVE_BUCKET, and start the server again",
	}
}

func (s *server) verifyArchives(ctx context.Context, in *verifyInput) (out *verifyOutput, err error) {
	k, err := s.keeper()
	if err != nil {
		return nil, err
	}
	out = &verifyOutput{}
	if out.Body.Archives, err = k.Audit(ctx, in.Sample); err != nil {
		return nil, err
	}
	if out.Body.Ledger, err = exportops.VerifyChain(ctx, s.Archives, 0, s.now()); err != nil {
		return nil, err
	}
	out.Body.OK = len(out.Body.Archives.Faults)+len(out.Body.Ledger.Breaks) == 0
	return out, nil
}

func (s *server) verifyArchive(ctx context.Context, in *archivePath) (*verifyOneOutput, error) {
	k, err := s.keeper()
	if err != nil {
		return nil, err
	}
	out := &verifyOneOutput{}
	if out.Body.Archive, err = s.Archives.Archive(ctx, in.ID); err != nil {
		return nil, err
	}
	if !out.Body.Archive.State.Trusted() {
		return nil, &exportops.Error{
			Kind: exportops.KindConflict, Message: fmt.Sprintf("archive %d is %s: nothing relies on it", in.ID, out.Body.Archive.State),
		}
	}
	out.Body.Fault, err = k.Verify(ctx, out.Body.Archive)
	out.Body.OK = err == nil && out.Body.Fault == ""
	return out, err
}

func (s *server) searchArchives(ctx context.Context, in *searchInput) (*searchOutput, error) {
	k, err := s.keeper()
	if err != nil {
		return nil, err
	}
	q := archive.Query{Format: in.Format, From: in.From, To: in.To}
	for _, id := range []struct {
		name, given string
		into        *string
	}{{"user_id", in.UserID, &q.UserID}, {"export_id", in.ExportID, &q.ExportID}} {
		if id.given == "" {
			continue
		}
		if *id.into, err = exportops.ParseID(id.name, id.given); err != nil {
			return nil, inQuery(err)
		}
	}
	// Archives do not change, and what is found comes in their order: how many were
	// shown says where to go on.
	skip, err := numberCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	out := &searchOutput{}
	out.Body.Rows = []archive.Found{}
	n := int64(0)
	for found, err := range k.Search(ctx, q) {
		if err != nil {
			return nil, err
		}
		if len(out.Body.Rows) == in.Limit {
			out.Body.NextCursor = strconv.FormatInt(n, 10)
			break
		}
		if n++; n > skip {
			out.Body.Rows = append(out.Body.Rows, found)
		}
	}
	return out, nil
}
