package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/exportops/exportops"
)

const exportsPath = "/api/v1/exports"

// newExport is what a caller decides about a row; the rest is the server's.
type newExport struct {
	ExportID          string           `json:"export_id"`
	UserID            string           `json:"user_id"`
	Timestamp         exportops.Time   `json:"timestamp,omitzero"`
	Format            exportops.Format `json:"format"`
	Config            json.RawMessage  `json:"config,omitempty"`
	ConversationCount int64            `json:"conversation_count"`
	FileSize          *int64           `json:"file_size,omitempty"`
	Status            exportops.Status `json:"status,omitempty"`
	FileURL           *string          `json:"file_url,omitempty"`
	ExpiresAt         *exportops.Time  `json:"expires_at,omitempty"`
	ErrorMessage      *string          `json:"error_message,omitempty"`
}

// CreateExport adds a row to export_logs and returns it as it is stored. An
// export_id that exists is KindConflict: after an error of KindUnavailable, a
// second call that conflicts shows that the first one arrived. ID, CreatedAt,
// UpdatedAt and DownloadedCount are the server's to set.
func (c *Client) CreateExport(ctx context.Context, e exportops.Export) (exportops.Export, error) {
	return c.writeExport(ctx, http.MethodPost, exportsPath, e.ExportID, newExport{
		ExportID: e.ExportID, UserID: e.UserID, Timestamp: e.Timestamp, Format: e.Format,
		Config: e.Config, ConversationCount: e.ConversationCount, FileSize: e.FileSize,
		Status: e.Status, FileURL: e.FileURL, ExpiresAt: e.ExpiresAt, ErrorMessage: e.ErrorMessage,
	})
}

// UpdateExport changes the fields of a row that are set in u and returns the
// row as it is then. It is KindNotFound without such a row, and KindConflict
// while the export's file is being deleted.
func (c *Client) UpdateExport(ctx context.Context, exportID string, u exportops.ExportUpdate) (exportops.Export, error) {
	path, err := exportPath(exportID)
	if err != nil {
		return exportops.Export{}, err
	}
	return c.writeExport(ctx, http.MethodPatch, path, exportID, u)
}

// Export returns one row, or KindNotFound.
func (c *Client) Export(ctx context.Context, exportID string) (exportops.Export, error) {
	path, err := exportPath(exportID)
	if err != nil {
		return exportops.Export{}, err
	}
	return c.oneExport(ctx, request{method: http.MethodGet, path: path, most: maxAnswer}, exportID)
}

// Exports returns a page of rows, newest first, and the cursor of the next
// page, "" at the end.
func (c *Client) Exports(ctx context.Context, f exportops.ExportFilter) (page []exportops.Export, next string, err error) {
	var answer struct {
		Exports    []exportops.Export `json:"exports"`
		NextCursor string             `json:"next_cursor"`
	}
	path := exportsPath
	if q := query(f); q != "" {
		path += "?" + q
	}
	err = c.do(ctx, request{method: http.MethodGet, path: path, most: maxList}, &answer)
	return answer.Exports, answer.NextCursor, err
}

func (c *Client) writeExport(ctx context.Context, method, path, exportID string, in any) (exportops.Export, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return exportops.Export{}, exportops.Invalid("", "encode an export: %v", err)
	}
	return c.oneExport(ctx, request{
		method: method, path: path, contentType: "application/json", body: body, most: maxAnswer,
	}, exportID)
}

// oneExport expects the row of exportID for an answer: any other object, such
// as {} from a proxy, must not be taken for it.
func (c *Client) oneExport(ctx context.Context, r request, exportID string) (exportops.Export, error) {
	var e exportops.Export
	if err := c.do(ctx, r, &e); err != nil {
		return exportops.Export{}, err
	}
	if !strings.EqualFold(e.ExportID, exportID) {
		return exportops.Export{}, senseless(errors.New("it is not the export that was asked for"))
	}
	return e, nil
}

// exportPath lets no id out into the path that could mean another one.
func exportPath(exportID string) (string, error) {
	id, err := exportops.ParseID("export_id", exportID)
	if err != nil {
		return "", fmt.Errorf("address an export: %w", err)
	}
	return exportsPath + "/" + id, nil
}

func query(f exportops.ExportFilter) string {
	q := url.Values{}
	set := func(name, v string) {
		if v != "" {
			q.Set(name, v)
		}
	}
	set("user_id", f.UserID)
	set("format", string(f.Format))
	set("status", string(f.Status))
	set("cursor", f.Cursor)
	for name, t := range map[string]exportops.Time{"from": f.From, "to": f.To} {
		if !t.IsZero() {
			q.Set(name, t.String())
		}
	}
	if f.Limit != 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return q.Encode()
}
