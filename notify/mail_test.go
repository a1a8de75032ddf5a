package notify_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/notify"
)

const password = "s3cret"

// mailbox is a mail server that keeps what it is sent.
type mailbox struct {
	mu    sync.Mutex
	all   []letter
	fault func(step string) error // nil for none

	hangUp func() // of the latest session
}

type letter struct {
	from string
	to   []string
	text string
}

// NewSession implements smtp.Backend.
func (b *mailbox) NewSession(c *smtp.Conn) (smtp.Session, error) {
	b.hangUp = func() { _ = c.Conn().Close() }
	return &session{box: b}, nil
}

func (b *mailbox) fails(step string) error {
	if b.fault == nil {
		return nil
	}
	return b.fault(step)
}

func (b *mailbox) took(t *testing.T, n int) []letter {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.all) != n {
		t.Fatalf("it has %d letters, want %d", len(b.all), n)
	}
	return append([]letter{}, b.all...)
}

type session struct {
	box *mailbox
	now letter
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, given string) error {
		if user != "exportops" || given != password {
			return &smtp.SMTPError{Code: 535, Message: "no such user with " + given}
		}
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.now.from = from
	return s.box.fails("mail")
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.now.to = append(s.now.to, to)
	return s.box.fails("rcpt")
}

func (s *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.now.text = string(text)
	if err := s.box.fails("data"); err != nil {
		return err
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	s.box.all = append(s.box.all, s.now)
	return nil
}

func (s *session) Reset()        { s.now = letter{} }
func (s *session) Logout() error { return nil }

// post starts a mail server, and returns the options of a channel to it.
func post(t *testing.T, how notify.MailTLS, change ...func(*smtp.Server)) (*mailbox, notify.MailOptions) {
	t.Helper()
	certified := httptest.NewUnstartedServer(http.NotFoundHandler())
	certified.StartTLS()
	t.Cleanup(certified.Close)
	trusted := x509.NewCertPool()
	trusted.AddCert(certified.Certificate())

	box := &mailbox{}
	s := smtp.NewServer(box)
	s.Domain, s.ErrorLog = "localhost", silent{}
	config := &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	switch how {
	case notify.MailStartTLS:
		s.TLSConfig = config
	case notify.MailOverTLS:
		l = tls.NewListener(l, config)
	case notify.MailClear:
	}
	for _, c := range change {
		c(s)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		_ = l.Close() // where it was told to stop before it had begun
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return box, notify.MailOptions{
		Dial: here().DialContext, Host: "127.0.0.1", Port: port, TLS: how, TLSConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12},
		From: "Exports <exportops@example.com>", To: []string{"a@example.com", "B <b@example.com>"},
	}
}

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

func (l letter) read(t *testing.T) *mail.Message {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(l.text))
	if err != nil {
		t.Fatalf("%v in %s", err, l.text)
	}
	return m
}

func TestMail(t *testing.T) {
	for name, how := range map[string]notify.MailTLS{"starttls": notify.MailStartTLS, "tls": notify.MailOverTLS, "clear": notify.MailClear} {
		t.Run(name, func(t *testing.T) {
			box, o := post(t, how)
			if how != notify.MailClear {
				o.User, o.Password = "exportops", password
			}
			send(t, notify.NewMail(o), firing(), resolved(), firing())
			all := box.took(t, 3)
			want(t, "from", all[0].from, "exportops@example.com")
			want(t, "to", all[0].to, []string{"a@example.com", "b@example.com"})
			first, end, again := all[0].read(t), all[1].read(t), all[2].read(t)
			want(t, "subject", first.Header.Get("Subject"), "HIGH: 2 runs <!channel> & more failed")
			want(t, "date", first.Header.Get("Date"), "Sun, 01 Mar 2026 12:00:01 +0000")
			want(t, "automatic", first.Header.Get("Auto-Submitted"), "auto-generated")
			for _, same := range []string{"Message-Id", "References", "Date", "Subject"} {
				want(t, same+" of the second delivery", again.Header.Get(same), first.Header.Get(same))
			}
			if id := first.Header.Get("Message-Id"); id == end.Header.Get("Message-Id") || !strings.HasSuffix(id, "@example.com>") {
				t.Errorf("Message-Id is %s", id)
			}
			want(t, "thread", end.Header.Get("References"), first.Header.Get("References"))
			if !strings.Contains(all[0].text, "exportops alerts show 1") {
				t.Errorf("the text is %s", all[0].text)
			}
		})
	}
}

func TestMailHeadersCannotBeAddedTo(t *testing.T) {
	box, o := post(t, notify.MailClear)
	m := firing()
	m.ID = "x>\r\nBcc: evil@example.com\r\n"
	m.Title = "one\r\nBcc: evil@example.com\r\n\r\nbody\u2028Cc: evil@example.com"
	m.Incident.ID = "y\r\nBcc: evil@example.com"
	send(t, notify.NewMail(o), m)
	got := box.took(t, 1)[0]
	want(t, "recipients", got.to, []string{"a@example.com", "b@example.com"})
	h := got.read(t).Header
	if h.Get("Bcc") != "" || h.Get("Cc") != "" || !strings.HasPrefix(got.text[strings.Index(got.text, "\r\n\r\n")+4:], "Since 12:00.") {
		t.Errorf("sent %s", got.text)
	}
}

func TestMailThatIsNotTaken(t *testing.T) {
	refusing := func(step string, code int) func(string) error {
		return func(s string) error {
			if s != step {
				return nil
			}
			return &smtp.SMTPError{Code: code, EnhancedCode: smtp.NoEnhancedCode, Message: "not this s3cret"}
		}
	}
	for name, c := range map[string]struct {
		step  string
		code  int
		final bool
		says  string
	}{
		"a sender":             {"mail", 550, true, "answered 550"},
		"a recipient":          {"rcpt", 550, true, "answered 550"},
		"a recipient for now":  {"rcpt", 450, false, "answered 450"},
		"the text":             {"data", 554, true, "answered 554"},
		"the text for now":     {"data", 451, false, "answered 451"},
		"the service, for now": {"mail", 421, false, "answered 421"},
	} {
		t.Run(name, func(t *testing.T) {
			box, o := post(t, notify.MailClear)
			box.fault = refusing(c.step, c.code)
			wantFailure(t, notify.NewMail(o), firing(), c.final, c.says)
			box.took(t, 0)
		})
	}
	t.Run("a_connection_that_breaks_off", func(t *testing.T) {
		box, o := post(t, notify.MailClear)
		box.fault = func(step string) error {
			if step == "data" {
				box.hangUp()
			}
			return nil
		}
		wantFailure(t, notify.NewMail(o), firing(), false, "the connection to the mail server broke off when closing SMTP DATA writer")
	})
	t.Run("a_wrong_password", func(t *testing.T) {
		_, o := post(t, notify.MailStartTLS)
		o.User, o.Password = "exportops", "wrong-s3cret"
		wantFailure(t, notify.NewMail(o), firing(), true, "answered 535")
	})
	t.Run("no_password_wanted", func(t *testing.T) {
		_, o := post(t, notify.MailClear)
		o.User, o.Password = "exportops", password
		wantFailure(t, notify.NewMail(o), firing(), false, "takes no user and password")
	})
	t.Run("no_encryption_offered", func(t *testing.T) {
		_, o := post(t, notify.MailClear)
		o.TLS = notify.MailStartTLS
		wantFailure(t, notify.NewMail(o), firing(), false, "offers no STARTTLS")
	})
	t.Run("a_certificate_that_is_not_trusted", func(t *testing.T) {
		for _, how := range []notify.MailTLS{notify.MailStartTLS, notify.MailOverTLS} {
			_, o := post(t, how)
			o.TLSConfig = nil
			wantFailure(t, notify.NewMail(o), firing(), false, "certificate is not trusted")
		}
	})
	t.Run("an_address_that_may_not_be_reached", func(t *testing.T) {
		box, o := post(t, notify.MailClear)
		guard := here()
		guard.Allowed = nil
		o.Dial = guard.DialContext
		wantFailure(t, notify.NewMail(o), firing(), false, "127.0.0.1 is no public address")
		box.took(t, 0)
	})
	t.Run("a_server_that_says_nothing", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, o := post(t, notify.MailClear)
		o.Port = l.Addr().(*net.TCPAddr).Port
		began := time.Now()
		var e *exportops.DeliveryError
		if err := notify.NewMail(o).Send(soon(t), firing()); !errors.As(err, &e) || e.Final || time.Since(began) > 5*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}
