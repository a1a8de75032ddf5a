package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

// newExport is the body that registers an export.
type newExport struct {
	ExportID          string           `json:"export_id,omitempty" format:"uuid" doc:"Chosen by the application; made up where it is missing"`
	UserID            string           `json:"user_id" required:"true" format:"uuid" doc:"Whose export it is"`
	Timestamp         exportops.Time   `json:"timestamp,omitempty" doc:"When the export was asked for; now where it is missing"`
	Format            exportops.Format `json:"format" required:"true" doc:"The format of the file"`
	Config            json.RawMessage  `json:"config,omitempty" doc:"A JSON object: scope, filters, what is included; {} where it is missing"`
	ConversationCount int64            `json:"conversation_count,omitempty" minimum:"0" doc:"How many conversations it holds; 0 while that is not known"`
	FileSize          *int64           `json:"file_size,omitempty" nullable:"true" minimum:"0" doc:"Bytes; once completed"`
	Status            exportops.Status `json:"status,omitempty" enum:"queued,processing,completed,failed" doc:"queued where it is missing"`
	FileURL           *string          `json:"file_url,omitempty" nullable:"true" doc:"Where the file is: a key relative to the bucket, or one of the URL forms; once completed"`
	ExpiresAt         *exportops.Time  `json:"expires_at,omitempty" nullable:"true" doc:"When the file may be deleted; once completed, what the retention policy says, or the default retention, where it is missing"`
	ErrorMessage      *string          `json:"error_message,omitempty" nullable:"true" doc:"Why it failed, as ErrorType: detail"`
	DownloadedCount   int64            `json:"downloaded_count,omitempty" minimum:"0" doc:"How often the file was downloaded"`
}

// exportUpdate is the body that changes an export. Nothing is nullable: a field
// that is left out stays as it is.
type exportUpdate struct {
	Status            *exportops.Status `json:"status,omitempty" nullable:"false" enum:"queued,processing,completed,failed" doc:"expired is set by the file cleanup alone"`
	ConversationCount *int64            `json:"conversation_count,omitempty" nullable:"false" minimum:"0" doc:"How many conversations it holds"`
	FileSize          *int64            `json:"file_size,omitempty" nullable:"false" minimum:"0" doc:"Bytes"`
	FileURL           *string           `json:"file_url,omitempty" nullable:"false" doc:"Where the file is"`
	ExpiresAt         *exportops.Time   `json:"expires_at,omitempty" nullable:"false" doc:"When the file may be deleted"`
	ErrorMessage      *string           `json:"error_message,omitempty" nullable:"false" doc:"Why it failed, as ErrorType: detail"`
	DownloadedCount   *int64            `json:"downloaded_count,omitempty" nullable:"false" minimum:"0" doc:"How often the file was downloaded"`
}

var (
	newExportFields    = fieldsOf[newExport]()
	exportUpdateFields = fieldsOf[exportUpdate]()
)

// complete returns the row to store. A new export that is completed already
// gets an expiry as UpdateExport would give it.
func (in newExport) complete(now exportops.Time, expiry exportops.ExpiryOf) (exportops.Export, error) {
	e := exportops.Export{
		ID: exportops.NewID(), ExportID: cmp.Or(in.ExportID, exportops.NewID()), UserID: in.UserID,
		Timestamp: in.Timestamp, Format: in.Format, Config: in.Config, ConversationCount: in.ConversationCount,
		FileSize: in.FileSize, Status: cmp.Or(in.Status, exportops.Queued), FileURL: in.FileURL, ExpiresAt: in.ExpiresAt,
		ErrorMessage: in.ErrorMessage, CreatedAt: now, UpdatedAt: now, DownloadedCount: in.DownloadedCount,
	}
	if e.Timestamp.IsZero() {
		e.Timestamp = now
	}
	if len(e.Config) == 0 {
		e.Config = json.RawMessage("{}")
	}
	if e.Status == exportops.Expired {
		return e, exportops.Invalid("status", "a new export cannot have expired")
	}
	if e.Status == exportops.Completed && e.ExpiresAt == nil {
		e.ExpiresAt = expiry(e)
	}
	if err := e.Validate(); err != nil {
		return e, err
	}
	var err error
	if e.ExportID, err = exportops.ParseID("export_id", e.ExportID); err != nil {
		return e, err
	}
	e.UserID, err = exportops.ParseID("user_id", e.UserID)
	return e, err
}

type exportOutput struct {
	Location string `header:"Location" doc:"Where the export can be read"`
	Body     exportops.Export
}

func (s *server) exportRoutes() {
	create := huma.Operation{
		OperationID: "create-export", Method: http.MethodPost, Path: "/api/v1/exports", DefaultStatus: http.StatusCreated,
		Summary:     "Register an export",
		Description: "Adds a row to export_logs. An export_id that exists is 409.",
		Tags:        []string{tagExports}, Security: needs(scopeIngest),
	}
	s.problems(&create, http.StatusBadRequest, http.StatusUnauthorized, http.StatusConflict, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	handle(s, create, s.createExport)
	s.takesObject(create, schemaOf[newExport](s), exampleNewExport)

	update := huma.Operation{
		OperationID: "update-export", Method: http.MethodPatch, Path: "/api/v1/exports/{export_id}",
		Summary: "Update an export",
		Description: "Changes the fields that are given. Completing an export without an expiry gives it that of the retention policy, or the default retention. " +
			"409 while the export's file is being deleted.",
		Tags: []string{tagExports}, Security: needs(scopeIngest),
	}
	s.problems(&update, http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusConflict,
		http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	handle(s, update, s.updateExport)
	s.takesObject(update, schemaOf[exportUpdate](s), exampleExportUpdate)

	s.exportReadRoutes()
}

func (s *server) createExport(ctx context.Context, _ *struct{}) (*exportOutput, error) {
	var in newExport
	if err := s.decodeBody(callOf(ctx), newExportFields, &in); err != nil {
		return nil, err
	}
	now := s.now()
	e, err := in.complete(now, s.expiry(now))
	if err != nil {
		return nil, err
	}
	if err := s.checkFile(e.FileURL, e.UserID); err != nil {
		return nil, err
	}
	if e, err = s.Exports.CreateExport(ctx, e); err != nil {
		return nil, err
	}
	return &exportOutput{Location: "/api/v1/exports/" + e.ExportID, Body: e}, nil
}

func (s *server) updateExport(ctx context.Context, in *exportPath) (*exportOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	var body exportUpdate
	if err := s.decodeBody(callOf(ctx), exportUpdateFields, &body); err != nil {
		return nil, err
	}
	u := exportops.ExportUpdate(body)
	if err := u.Validate(); err != nil {
		return nil, err
	}
	if u.FileURL != nil {
		e, err := s.Exports.Export(ctx, id)
		if err == nil {
			err = s.checkFile(u.FileURL, e.UserID)
		}
		if err != nil {
			return nil, err
		}
	}
	now := s.now()
	e, err := s.Exports.UpdateExport(ctx, id, u, s.expiry(now), now)
	return &exportOutput{Body: e}, err
}

// expiry says when the files of exports that are completed now expire.
func (s *server) expiry(now exportops.Time) exportops.ExpiryOf {
	if s.Policy != nil {
		return s.Policy.Expiry(now)
	}
	return exportops.ExpiresAt(exportops.At(now.Add(s.FileRetention)))
}

// checkFile refuses a file that no cleanup would ever delete, while whoever
// wrote it is there to correct it.
func (s *server) checkFile(fileURL *string, userID string) error {
	if why := s.Locator.Resolve(fileURL, userID).Refused; why != "" {
		return &exportops.Error{
			Kind: exportops.KindInvalid, Field: "file_url", Message: why,
			Hint: "send a key relative to the storage folder, such as 2026/export.jsonl",
		}
	}
	return nil
}
