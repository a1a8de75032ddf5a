// Package outbound talks to addresses that the settings name, and that may be
// hostile all the same: whoever can write a webhook's URL, or answer for its name,
// must not reach what only this machine can reach.
//
//	settings ──▶ CheckURL, CheckHost: the form, and addresses that are written out
//	                └─▶ DialContext: each address that a name stands for, when it is dialled
//
// An exchange is bounded in time and size, follows no redirect and uses no proxy.
// What went wrong is told without anything of the request, for URLs of webhooks are
// secrets, and without anything that the receiver wrote, which may repeat them.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// ErrForbidden is of an address that is not of the public internet and that the
// settings do not allow.
var ErrForbidden = errors.New("no public address, and EXPORTOPS_ALLOW_PRIVATE_TARGETS does not allow it")

// dialWithin bounds the look-up of a name and the connection to it.
const dialWithin = 5 * time.Second

// Guard decides which addresses may be reached. The zero value allows those of the
// public internet.
type Guard struct {
	// Allowed are networks that may be reached although they are not public.
	Allowed []netip.Prefix
	// Resolver looks names up; nil is the system's.
	Resolver *net.Resolver
}

// CheckURL reports what can be said against a URL without looking its host up. The
// error does not repeat the URL.
func (g *Guard) CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Opaque != "" {
		return errors.New("it is no http or https URL")
	}
	return g.CheckHost(u.Hostname())
}

// CheckHost reports what can be said against a host without looking it up: that it
// is an address that may not be reached, or none in its usual form.
func (g *Guard) CheckHost(host string) error {
	if a, err := netip.ParseAddr(host); err == nil {
		return g.check(a)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	switch {
	case name == "" || len(name) > 253 || strings.ContainsFunc(name, notOfNames):
		return errors.New("it names no host")
	case name == "localhost" || strings.HasSuffix(name, ".localhost"):
		return g.checkLocalhost()
	case endsInNumber(name):
		return fmt.Errorf("%s is an address in an unusual form", host)
	}
	return nil
}

func notOfNames(r rune) bool {
	return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.' || r >= utf8.RuneSelf)
}

// endsInNumber reports whether some resolvers read a name as an IPv4 address, such
// as 127.1, 0x7f000001 or 2130706433. No top-level domain is a number.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	digits, hex := strings.CutPrefix(last, "0x")
	return hex && strings.Trim(digits, "0123456789abcdef") == "" || strings.Trim(last, "0123456789") == ""
}

// checkLocalhost allows the name where one of the addresses that it stands for is.
func (g *Guard) checkLocalhost() error {
	err := g.check(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err != nil && g.check(netip.IPv6Loopback()) == nil {
		return nil
	}
	return err
}

// Look looks a host up, and reports whether each of its addresses may be reached.
// An address may be another by the time it is dialled, and is checked then again.
func (g *Guard) Look(ctx context.Context, host string) error {
	if err := g.CheckHost(host); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	resolver := g.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	all, err := resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return Plain(ctx, err)
	}
	for _, a := range all {
		if err := g.check(a); err != nil {
			return fmt.Errorf("%s: %w", host, err)
		}
	}
	return nil
}

// DialContext connects to an address by TCP, unless the address that its host
// stands for at this moment may not be reached: then the error is ErrForbidden.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" {
		return nil, fmt.Errorf("%s is %w", network, ErrForbidden)
	}
	d := net.Dialer{
		Timeout: dialWithin, Resolver: g.Resolver,
		// It is asked about each socket, with the address that is about to be dialled.
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return ErrForbidden
			}
			return g.check(at.Addr())
		},
	}
	return d.DialContext(ctx, network, address)
}

// check refuses an address that is not public, and not allowed.
func (g *Guard) check(a netip.Addr) error {
	end := reached(a)
	if public(end) {
		return nil
	}
	for _, p := range g.Allowed {
		if p.Contains(end) {
			return nil
		}
	}
	return fmt.Errorf("%s is %w", a, ErrForbidden)
}
