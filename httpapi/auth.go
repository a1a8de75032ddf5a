package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Secret is one credential, and the one before it while it is rotated. Both
// are accepted; an empty one never is.
type Secret struct {
	Current, Previous string
}

// Secrets are the bearer credentials. A scope without one is closed.
type Secrets struct {
	Cron   Secret // the cron endpoints, and nothing else
	Ingest Secret // metrics, and registering and updating exports
	Read   Secret
	Admin  Secret // deletes, and reads
}

// The scopes, by the names of their security schemes.
const (
	scopeCron   = "cron"
	scopeIngest = "ingest"
	scopeRead   = "read"
	scopeAdmin  = "admin"
)

// needs returns what an operation's Security says for a scope.
func needs(scope string) []map[string][]string {
	if scope == scopeRead {
		return []map[string][]string{{scopeRead: {}}, {scopeAdmin: {}}}
	}
	return []map[string][]string{{scope: {}}}
}

// tokens holds the digests of the credentials that each scope accepts.
type tokens map[string][][sha256.Size]byte

func newTokens(s Secrets) tokens {
	t := tokens{}
	for scope, secret := range map[string]Secret{
		scopeCron: s.Cron, scopeIngest: s.Ingest, scopeRead: s.Read, scopeAdmin: s.Admin,
	} {
		for _, text := range []string{secret.Current, secret.Previous} {
			if text != "" {
				t[scope] = append(t[scope], sha256.Sum256([]byte(text)))
			}
		}
	}
	return t
}

// accepts reports whether the request carries a credential of one of the
// schemes. Digests are compared, so that neither the length nor the beginning
// of a secret shows in the time it takes, and all of them, so that it does not
// show which one matched.
func (t tokens) accepts(r *http.Request, security []map[string][]string) bool {
	presented, ok := bearer(r)
	digest := sha256.Sum256([]byte(presented))
	match := 0
	for _, scheme := range security {
		for scope := range scheme {
			for _, d := range t[scope] {
				match |= subtle.ConstantTimeCompare(d[:], digest[:])
			}
		}
	}
	return ok && match == 1
}

// bearer returns the one bearer credential of a request.
func bearer(r *http.Request) (string, bool) {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	return token, ok && token != "" && strings.EqualFold(scheme, "Bearer")
}

// authenticate lets a request through that may call its operation. Every other
// one gets the same answer, whatever is wrong with its credential.
func (s *server) authenticate(ctx huma.Context, next func(huma.Context)) {
	security := ctx.Operation().Security
	c := callOf(ctx.Context())
	if len(security) == 0 || s.tokens.accepts(c.r, security) || s.openInDev(c.r, security) {
		next(ctx)
		return
	}
	c.w.Header().Set("WWW-Authenticate", `Bearer realm="exportops"`)
	p := s.newProblem(c, http.StatusUnauthorized, "this needs a valid credential")
	p.Hint = "send the header Authorization: Bearer <secret>, with the secret that this route takes"
	p.write(c.w)
}

// openInDev reports whether the API is open to the request. A page that a
// developer visits could reach a loopback server under a name of its own
// (DNS rebinding), so the name counts.
func (s *server) openInDev(r *http.Request, security []map[string][]string) bool {
	if _, cron := security[0][scopeCron]; cron || !s.Dev {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}
