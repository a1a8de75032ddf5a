package exporter

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/exportops/exportops"
)

// The scopes of a request.
const (
	ScopeAll   = "all"
	ScopeTopic = "topic"
	ScopeIDs   = "ids"
	ScopeLimit = "limit"
)

// Request asks for an export. It is kept as the config of the export's row,
// the user apart.
type Request struct {
	UserID          string           `json:"user_id,omitempty"`
	Format          exportops.Format `json:"format"`
	Scope           string           `json:"scope"`           // all
	Topic           string           `json:"topic,omitempty"` // of scope topic: exactly this one
	IDs             []string         `json:"ids,omitempty"`   // of scope ids: these, in the order of the data set
	Limit           int              `json:"limit,omitempty"` // of scope limit: the first ones
	IncludeMetadata bool             `json:"include_metadata"`
	IncludeSystem   bool             `json:"include_system"`
}

// NewRequest returns a request with the defaults: all conversations, with
// metadata and system messages.
func NewRequest() Request {
	return Request{Scope: ScopeAll, IncludeMetadata: true, IncludeSystem: true}
}

// config returns the request as a row keeps it.
func (r Request) config() (json.RawMessage, error) {
	r.UserID = ""
	config, err := json.Marshal(r)
	switch {
	case err != nil:
		return nil, fail(InvalidRequest, err, "it cannot be written as JSON")
	case len(config) > exportops.MaxConfigBytes:
		return nil, fail(InvalidRequest, nil, "it is longer than %d bytes", exportops.MaxConfigBytes)
	case strings.Contains(string(config), `\u0000`):
		return nil, fail(InvalidRequest, nil, "it holds a NUL character")
	}
	return config, nil
}

func (r Request) check() error {
	if !slices.Contains(exportops.Formats, r.Format) {
		return fail(UnsupportedFormat, nil, "%.40q is not one of json, jsonl, csv, markdown", r.Format)
	}
	given := map[string]bool{ScopeTopic: r.Topic != "", ScopeIDs: len(r.IDs) > 0, ScopeLimit: r.Limit != 0}
	if _, known := given[r.Scope]; !known && r.Scope != ScopeAll {
		return fail(InvalidRequest, nil, "scope %.40q is not one of all, topic, ids, limit", r.Scope)
	}
	for _, field := range []string{ScopeTopic, ScopeIDs, ScopeLimit} {
		if given[field] != (field == r.Scope) {
			return fail(InvalidRequest, nil, "scope %s and field %s do not go together", r.Scope, field)
		}
	}
	if r.Limit < 0 {
		return fail(InvalidRequest, nil, "limit %d is negative", r.Limit)
	}
	return nil
}

// selection picks the conversations of a request, in one pass.
type selection struct {
	req   Request
	met   map[string]bool // of the ids asked for
	count int64
}

func (r Request) selection() *selection {
	s := &selection{req: r, met: map[string]bool{}}
	for _, id := range r.IDs {
		s.met[id] = false
	}
	return s
}

func (s *selection) done() bool { return s.req.Scope == ScopeLimit && s.count == int64(s.req.Limit) }

// take reports whether c is selected, and strips it of what is left out.
func (s *selection) take(c *Conversation) bool {
	switch s.req.Scope {
	case ScopeTopic:
		if c.Topic != s.req.Topic {
			return false
		}
	case ScopeIDs:
		if _, asked := s.met[c.ID]; !asked {
			return false
		}
		s.met[c.ID] = true
	}
	if !s.req.IncludeSystem {
		c.Messages = slices.DeleteFunc(c.Messages, func(m Message) bool { return m.Role == "system" })
		if len(c.Messages) == 0 {
			return false
		}
	}
	if !s.req.IncludeMetadata {
		*c = Conversation{Messages: c.Messages}
	}
	s.count++
	return true
}

// complete reports what was asked for and not met. Some of many ids are not
// taken for all of them.
func (s *selection) complete() error {
	if s.count == 0 {
		return fail(EmptySelection, nil, "no conversation matches %s", s.req.describe())
	}
	for _, id := range s.req.IDs {
		if !s.met[id] {
			return fail(UnknownConversation, nil, "no conversation has the id %.80q", id)
		}
	}
	return nil
}

func (r Request) describe() string {
	switch r.Scope {
	case ScopeTopic:
		return fmt.Sprintf("the topic %.80q", r.Topic)
	case ScopeIDs:
		return "any of the ids"
	default:
		return "the request"
	}
}
