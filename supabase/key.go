package supabase

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/exportops/exportops"
)

// authorization returns the headers that carry a service role key, and refuses
// every other one. With a key of less right Storage would not complain: it
// hides rows, and files that are there would seem to be gone. No error holds
// any part of the key.
func authorization(key string) (http.Header, error) {
	refuse := func(message string) (http.Header, error) {
		return nil, &exportops.Error{
			Kind: exportops.KindInvalid, Field: keySetting, Message: message,
			Hint: "copy the service_role key, or a secret key (sb_secret_…), from the project's API settings",
		}
	}
	h := http.Header{"Apikey": {key}}
	switch {
	case key == "":
		return refuse("the service role key is missing, and the anonymous key is never used in its place")
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return refuse("the key holds a space, a line break or another character that no key has")
	case strings.HasPrefix(key, "sb_publishable_"):
		return refuse("this is a publishable key, which applications show to everybody; the service role's is needed")
	case strings.HasPrefix(key, "sb_secret_"):
		// The gateway turns it into a signed one; as a bearer it is refused.
		return h, nil
	}
	switch role, ok := roleOf(key); {
	case !ok:
		return refuse("this is neither a service_role JWT nor a secret key that begins with sb_secret_")
	case role == "anon":
		return refuse("this is the anonymous key, which applications show to everybody; the service role's is needed")
	case role != "service_role":
		return refuse("this JWT is not of the role service_role, so files could be hidden from it")
	}
	h.Set("Authorization", "Bearer "+key)
	return h, nil
}

// roleOf reads the role of a JWT. Its signature is the server's to check.
func roleOf(key string) (string, bool) {
	parts := strings.Split(key, ".")
	if len(parts) != 3 {
		return "", false
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return "", false
	}
	var claims struct {
		Role string `json:"role"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		return "", false
	}
	return claims.Role, true
}
