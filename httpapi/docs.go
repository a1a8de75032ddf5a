package httpapi

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"path"
	"time"
)

// assets is the page that shows the description. It loads nothing from
// elsewhere.
//
//go:embed assets
var assets embed.FS

// docsPolicy lets the page run its own script and style, and nothing inline.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// serveDescription serves the OpenAPI document as it is once every route is
// registered, and the page.
func (s *server) serveDescription() error {
	if err := s.completeSchemas(); err != nil {
		return err
	}
	document, err := json.MarshalIndent(s.api.OpenAPI(), "", " ")
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	s.serveStatic("/openapi.json", "application/openapi+json", "", document)
	for route, name := range map[string]string{
		"/docs": "docs.html", "/docs/docs.js": "docs.js", "/docs/docs.css": "docs.css",
	} {
		content, err := assets.ReadFile("assets/" + name)
		if err != nil {
			return fmt.Errorf("read an embedded page: %w", err)
		}
		s.serveStatic(route, mime.TypeByExtension(path.Ext(name)), docsPolicy, content)
	}
	return nil
}

// serveStatic serves content that stays the same for the life of the process.
func (s *server) serveStatic(route, mediaType, policy string, content []byte) {
	sum := sha256.Sum256(content)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	s.mux.HandleFunc("GET "+route, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", mediaType)
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", etag)
		if policy != "" {
			h.Set("Content-Security-Policy", policy)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}
