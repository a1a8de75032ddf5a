package notify

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/outbound"
)

// MailTLS says how a connection to a mail server is encrypted.
type MailTLS string

// The ways.
const (
	MailStartTLS MailTLS = "starttls" // after it began in clear text, or not at all
	MailOverTLS  MailTLS = "tls"      // from the first byte
	MailClear    MailTLS = "none"
)

// mailWithin bounds a whole delivery to a mail server.
const mailWithin = 15 * time.Second

// MailOptions says where mail goes, and how.
type MailOptions struct {
	// Dial connects to the server: that of a guard.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Host string
	Port int
	TLS  MailTLS
	// TLSConfig, where set, is used in place of what the system trusts.
	TLSConfig      *tls.Config
	User, Password string // "" where the server asks for none
	From           string
	To             []string
}

// Mail sends messages by SMTP. Each has the same Message-ID however often it is sent,
// so that a mailbox can tell a second delivery, and those of an incident are one
// thread.
type Mail struct{ o MailOptions }

var _ exportops.Channel = (*Mail)(nil)

// NewMail returns a channel.
func NewMail(o MailOptions) *Mail { return &Mail{o} }

// Send implements exportops.Channel. The message is taken for all recipients or for
// none.
func (c *Mail) Send(ctx context.Context, m exportops.Message) error {
	msg, err := c.message(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, mailWithin)
	defer cancel()
	conn, err := c.connect(ctx)
	if err != nil {
		return mailFailed(ctx, err)
	}
	// The library closes no connection that it could not begin with, and hears of
	// ctx only while it dials.
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	client, err := c.client(conn)
	if err != nil {
		return hopeless("the settings of the mail server are not accepted")
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err == nil {
		err = client.SendWithSMTPClient(session, msg)
	}
	if err != nil && !msg.IsDelivered() {
		return mailFailed(ctx, err)
	}
	_ = client.CloseWithSMTPClient(session) // it was taken: how we part changes nothing
	return nil
}

// connect dials, and encrypts where that comes first.
func (c *Mail) connect(ctx context.Context) (net.Conn, error) {
	conn, err := c.o.Dial(ctx, "tcp", net.JoinHostPort(c.o.Host, strconv.Itoa(c.o.Port)))
	if err != nil || c.o.TLS != MailOverTLS {
		return conn, err
	}
	encrypted := tls.Client(conn, c.tls())
	if err := encrypted.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return encrypted, nil
}

func (c *Mail) tls() *tls.Config {
	if c.o.TLSConfig != nil {
		own := c.o.TLSConfig.Clone()
		own.ServerName = c.o.Host
		return own
	}
	return &tls.Config{ServerName: c.o.Host, MinVersion: tls.VersionTLS12}
}

// client is one of the library that uses a connection that is there.
func (c *Mail) client(conn net.Conn) (*mail.Client, error) {
	options := []mail.Option{
		mail.WithTimeout(mailWithin), mail.WithTLSConfig(c.tls()), mail.WithTLSPolicy(mail.TLSMandatory),
		mail.WithDialContextFunc(func(context.Context, string, string) (net.Conn, error) { return conn, nil }),
		mail.WithoutRset(), // there is one message: what follows it cannot undo it
	}
	switch c.o.TLS {
	case MailOverTLS:
		options = append(options, mail.WithSSL())
	case MailClear:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	case MailStartTLS:
	}
	if c.o.User != "" {
		options = append(options, mail.WithUsername(c.o.User), mail.WithPassword(c.o.Password),
			mail.WithOpportunisticSMTPAuth(mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthSCRAMSHA1, mail.SMTPAuthPlain, mail.SMTPAuthLogin))
	}
	return mail.NewClient(c.o.Host, options...)
}

// message writes the mail.
func (c *Mail) message(m exportops.Message) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := errors.Join(msg.From(c.o.From), msg.To(c.o.To...)); err != nil {
		return nil, hopeless("the sender or a recipient is no mail address")
	}
	msg.Subject(oneLine(m.Title, mostTitle))
	msg.SetMessageIDWithValue(c.id(m.ID))
	msg.SetDateWithValue(m.At.Time)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // no answers from holiday notices
	if m.Incident != nil {
		msg.SetGenHeader(mail.HeaderReferences, "<"+c.id("incident:"+m.Incident.ID)+">")
	}
	msg.SetBodyString(mail.TypeTextPlain, cut(strings.ToValidUTF8(m.Text, "�"), 20*mostText))
	return msg, nil
}

// id makes an id of mail from one of ours, which may hold anything.
func (c *Mail) id(ours string) string {
	sum := sha256.Sum256([]byte(ours))
	domain := strings.Trim(c.o.From[strings.LastIndexByte(c.o.From, '@')+1:], "<> ")
	return hex.EncodeToString(sum[:16]) + "@" + domain
}

// mailFailed says what went wrong, without the words of the server, which may repeat
// the password.
func mailFailed(ctx context.Context, err error) error {
	var sent *mail.SendError
	var said *textproto.Error
	code, doing := 0, ""
	switch {
	case errors.As(err, &sent):
		code, doing = sent.ErrorCode(), " when "+sent.Reason.String()
	case errors.As(err, &said):
		code = said.Code
	}
	text := err.Error()
	switch {
	case code != 0:
		return &exportops.DeliveryError{Err: fmt.Errorf("the mail server answered %d%s", code, doing), Final: code/100 == 5}
	case sent != nil && ctx.Err() == nil:
		return &exportops.DeliveryError{Err: errors.New("the connection to the mail server broke off" + doing)}
	case strings.Contains(text, "not support STARTTLS"): // or somebody in between took the offer out
		return &exportops.DeliveryError{Err: errors.New("the mail server offers no STARTTLS")}
	case strings.Contains(text, "not support SMTP AUTH"), errors.Is(err, mail.ErrNoSupportedAuthDiscovered):
		return &exportops.DeliveryError{Err: errors.New("the mail server takes no user and password that could be sent safely")}
	}
	return attempted(outbound.Plain(ctx, err))
}
