package outbound_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/exportops/exportops/internal/outbound"
)

func allowing(networks ...string) *outbound.Guard {
	g := &outbound.Guard{}
	for _, n := range networks {
		g.Allowed = append(g.Allowed, netip.MustParsePrefix(n))
	}
	return g
}

func TestHosts(t *testing.T) {
	public := []string{
		"93.184.216.34", "1.1.1.1", "223.255.255.254", "2606:4700:4700::1111", "2a00::1",
		"::ffff:1.1.1.1", "64:ff9b::101:101", "hooks.slack.com", "hooks.slack.com.", "bücher.example", "a_b.example", "0x.example", "face.b00c",
	}
	for _, host := range public {
		if err := (&outbound.Guard{}).CheckHost(host); err != nil {
			t.Errorf("%s is refused: %v", host, err)
		}
	}
	forbidden := []string{
		"127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "100.127.255.255", "168.63.129.16",
		"192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9",
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001::1", "2001:db8::1",
		"2002:7f00:1::", "3fff::1", "64:ff9b:1::1", "100::1", "5f00::1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
		"localhost", "LOCALHOST", "localhost.", "api.localhost",
	}
	for _, host := range forbidden {
		if err := (&outbound.Guard{}).CheckHost(host); !errors.Is(err, outbound.ErrForbidden) {
			t.Errorf("%s: %v", host, err)
		}
	}
	unusual := []string{"", ".", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "1.2.3.4.5", "x.0x1", "a b", "a\x7fb", "a/b", "a@b", strings.Repeat("a.", 130)}
	for _, host := range unusual {
		if err := (&outbound.Guard{}).CheckHost(host); err == nil || errors.Is(err, outbound.ErrForbidden) {
			t.Errorf("%q: %v", host, err)
		}
	}
}

// An address is the same however it is written.
func TestIPv4WithinIPv6(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		four := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")))
		b := four.As4()
		translated := netip.AddrFrom16([16]byte{1: 0x64, 2: 0xff, 3: 0x9b, 12: b[0], 13: b[1], 14: b[2], 15: b[3]})
		g := allowing("10.1.0.0/16")
		refused := g.CheckHost(four.String()) != nil
		for _, same := range []string{"::ffff:" + four.String(), translated.String()} {
			if (g.CheckHost(same) != nil) != refused {
				t.Fatalf("%s is refused: %v, %s is not the same", four, refused, same)
			}
		}
	})
}

func TestAllowedNetworks(t *testing.T) {
	g := allowing("10.1.0.0/16", "::1/128")
	for host, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "64:ff9b::a01:203": true, "::1": true, "localhost": true,
		"10.2.0.1": false, "127.0.0.1": false, "169.254.169.254": false, "fe80::1": false,
	} {
		if err := g.CheckHost(host); (err == nil) != want {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestURLs(t *testing.T) {
	for raw, want := range map[string]bool{
		"https://hooks.example.com/a?b=c": true, "http://user:pass@example.com:8080": true, "https://[2606:4700:4700::1111]/": true,
		"ftp://example.com/": false, "file:///etc/passwd": false, "gopher://example.com": false, "https:example.com": false,
		"https://": false, "//example.com": false, "example.com": false, "https://[::1]:443/": false, "https://127.0.0.1/": false,
		"https://[fe80::1%25eth0]/": false, "https://\x00/": false, "https://user@localhost/": false,
	} {
		err := (&outbound.Guard{}).CheckURL(raw)
		if (err == nil) != want {
			t.Errorf("%q: %v", raw, err)
		}
	}
	err := (&outbound.Guard{}).CheckURL("ftp://user:hunter2@example.com/path-hunter2")
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("said %v", err)
	}
}

// counting is a server that counts what reaches it.
func counting(t *testing.T, answer http.HandlerFunc) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	var hits atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s, &hits
}

func fine(http.ResponseWriter, *http.Request) {}

func get(t *testing.T, g *outbound.Guard, url string) (*http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := g.Client().Do(req)
	if err == nil {
		t.Cleanup(func() { _ = res.Body.Close() })
	}
	return res, err
}

// resolver answers every name with the addresses in turn, the last one for good.
func resolver(addresses ...string) *net.Resolver {
	var asked atomic.Int32
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			head := make([]byte, 2)
			for {
				if _, err := io.ReadFull(far, head); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(head))
				if _, err := io.ReadFull(far, query); err != nil {
					return
				}
				end := 12 // of the name that is asked for; its type and class follow
				for query[end] != 0 {
					end += int(query[end]) + 1
				}
				out := append([]byte{}, query[:end+5]...)
				copy(out[2:], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
				if query[end+2] == 1 { // an A record, which is all there is
					a := netip.MustParseAddr(addresses[min(int(asked.Add(1)), len(addresses))-1]).As4()
					out[7] = 1
					out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, a[0], a[1], a[2], a[3])
				}
				if _, err := far.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
					return
				}
			}
		}()
		return near, nil
	}}
}

func TestANameThatStandsForSomethingElseWhenItIsDialled(t *testing.T) {
	server, hits := counting(t, fine)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	g := &outbound.Guard{Resolver: resolver("93.184.216.34", "127.0.0.1")}
	if err := g.Look(t.Context(), "rebound.example"); err != nil {
		t.Fatalf("the first answer is public: %v", err)
	}
	_, err = get(t, g, "http://rebound.example:"+port+"/")
	if !errors.Is(err, outbound.ErrForbidden) || hits.Load() != 0 {
		t.Errorf("%v, and the server was asked %d times", err, hits.Load())
	}
	if err := g.Look(t.Context(), "rebound.example"); !errors.Is(err, outbound.ErrForbidden) || !strings.Contains(err.Error(), "rebound.example: 127.0.0.1 is") {
		t.Errorf("the second look-up says %v", err)
	}
	g.Allowed = allowing("127.0.0.0/8").Allowed
	if _, err := get(t, g, "http://rebound.example:"+port+"/"); err != nil || hits.Load() != 1 {
		t.Errorf("where it is allowed: %v, asked %d times", err, hits.Load())
	}
	if _, err := g.DialContext(t.Context(), "unix", "/run/some.sock"); !errors.Is(err, outbound.ErrForbidden) {
		t.Errorf("a socket in the file system: %v", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	inner, hits := counting(t, fine)
	for _, status := range []int{301, 302, 303, 307, 308} {
		outer, _ := counting(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inner.URL, status) })
		_, err := get(t, allowing("127.0.0.0/8"), outer.URL)
		var e *outbound.Error
		if !errors.As(err, &e) || e.Code != status || !strings.Contains(e.Error(), "redirects are not followed") {
			t.Errorf("%d: %v", status, err)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d redirects were followed", hits.Load())
	}
}

// raw listens and writes an answer to whatever comes, the request's first line in it.
func raw(t *testing.T, answer func(line string) string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			n, _ := c.Read(buf)
			line, _, _ := strings.Cut(string(buf[:n]), "\r\n")
			_, _ = io.WriteString(c, answer(line))
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

func TestErrorsRepeatNothingOfTheRequest(t *testing.T) {
	echo, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "Cannot GET "+r.RequestURI)
	})
	hangs, _ := counting(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	closed := httptest.NewServer(http.HandlerFunc(fine))
	closed.Close()
	encrypted := httptest.NewTLSServer(http.HandlerFunc(fine))
	t.Cleanup(encrypted.Close)
	host := func(s *httptest.Server) string { return s.Listener.Addr().String() }
	for name, c := range map[string]struct{ address, says string }{
		"an answer that repeats it": {"http://u:s3cret@" + host(echo), "404 Not Found"},
		"no HTTP":                   {"http://u:s3cret@" + raw(t, func(line string) string { return line + "\r\n" }), "cannot be understood"},
		"half an answer":            {"http://u:s3cret@" + raw(t, func(string) string { return "HTTP/1.1 " }), "cannot be understood"},
		"nothing":                   {"http://u:s3cret@" + raw(t, func(string) string { return "" }), "closed the connection"},
		"a long header":             {"http://u:s3cret@" + raw(t, func(line string) string { return "HTTP/1.1 200 OK\r\nX: " + strings.Repeat(line, 9000) }), ""},
		"nobody there":              {"http://u:s3cret@" + host(closed), "connection refused"},
		"no TLS":                    {"https://u:s3cret@" + host(echo), ""},
		"a certificate of its own":  {"https://u:s3cret@" + host(encrypted), "certificate is not trusted"},
		"no answer":                 {"http://u:s3cret@" + host(hangs), "no answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := get(t, allowing("127.0.0.0/8"), c.address+"/s3cret-path?token=s3cret-query")
			var e *outbound.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(e.Error(), "s3cret") || !strings.Contains(e.Error(), c.says) {
				t.Errorf("said %q", e)
			}
		})
	}
}

func TestAnswersAreCut(t *testing.T) {
	large, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1<<20)) })
	res, err := get(t, allowing("127.0.0.0/8"), large.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || len(body) != 64<<10 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}

func TestRetryAfter(t *testing.T) {
	for header, want := range map[string][2]time.Duration{
		"": {}, "soon": {}, "-5": {}, "30": {30 * time.Second, 30 * time.Second}, "99999999": {24 * time.Hour, 24 * time.Hour},
		"99999999999999999999": {}, "Mon, 02 Jan 2006 15:04:05 GMT": {},
		time.Now().Add(time.Minute).UTC().Format(http.TimeFormat): {50 * time.Second, time.Minute},
	} {
		s, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		_, err := get(t, allowing("127.0.0.0/8"), s.URL)
		var e *outbound.Error
		if !errors.As(err, &e) || e.Code != 429 || e.RetryAfter < want[0] || e.RetryAfter > want[1] {
			t.Errorf("%q: %+v", header, e)
		}
	}
}
