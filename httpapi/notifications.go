package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

type notificationPath struct {
	ID string `path:"id" format:"uuid" doc:"The notification"`
}

type notificationsInput struct {
	State   exportops.NotificationState `query:"state" enum:"pending,delivered,dead" doc:"Only in this state"`
	Channel string                      `query:"channel" maxLength:"200" doc:"Only of this channel"`
	Limit   int                         `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Notifications a page"`
	Cursor  string                      `query:"cursor" maxLength:"512" doc:"next_cursor of the page before; opaque"`
}

type notificationOutput struct{ Body exportops.Notification }

type notificationsOutput struct {
	Body struct {
		Notifications []exportops.Notification `json:"notifications" nullable:"false" doc:"Newest first"`
		NextCursor    string                   `json:"next_cursor" doc:"Cursor of the next page; empty at the end"`
	} `nameHint:"NotificationPage"`
}

func (s *server) notificationRoutes() {
	one := huma.Operation{
		OperationID: "get-notification", Method: http.MethodGet, Path: "/api/v1/notifications/{id}",
		Summary: "Read one notification, with its message", Tags: []string{tagAlerts}, Security: needs(scopeRead),
	}
	s.problems(&one, http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound)
	handle(s, one, s.notification)

	retry := huma.Operation{
		OperationID: "retry-notification", Method: http.MethodPost, Path: "/api/v1/notifications/{id}/retry",
		Summary:     "Have a notification that was given up on sent again",
		Description: "409 for one that is not dead, and where the channel was told something later of the same incident.",
		Tags:        []string{tagAlerts}, Security: needs(scopeAdmin),
	}
	s.problems(&retry, http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusConflict)
	handle(s, retry, s.retryNotification)

	list := huma.Operation{
		OperationID: "list-notifications", Method: http.MethodGet, Path: "/api/v1/notifications",
		Summary:     "List what channels were told, or are to be told",
		Description: "Newest first, by pages.",
		Tags:        []string{tagAlerts}, Security: needs(scopeRead),
	}
	s.problems(&list, http.StatusBadRequest, http.StatusUnauthorized)
	handle(s, list, s.notifications)
}

func (s *server) notification(ctx context.Context, in *notificationPath) (*notificationOutput, error) {
	id, err := exportops.ParseID("id", in.ID)
	if err != nil {
		return nil, inPath(err)
	}
	n, err := s.Notifications.Notification(ctx, id)
	return &notificationOutput{n}, err
}

func (s *server) retryNotification(ctx context.Context, in *notificationPath) (*notificationOutput, error) {
	id, err := exportops.ParseID("id", in.ID)
	if err != nil {
		return nil, inPath(err)
	}
	n, err := exportops.RetryNotification(ctx, s.Notifications, id, s.now())
	return &notificationOutput{n}, err
}

func (s *server) notifications(ctx context.Context, in *notificationsInput) (*notificationsOutput, error) {
	list, next, err := s.Notifications.Notifications(ctx, exportops.NotificationFilter{
		State: in.State, Channel: in.Channel, Limit: in.Limit, Before: in.Cursor,
	})
	if err != nil {
		return nil, inQuery(err)
	}
	out := &notificationsOutput{}
	out.Body.Notifications, out.Body.NextCursor = orEmpty(list), next
	return out, nil
}
