package exporter

import (
	"bufio"
	"bytes"
	_ "embed" // the data set
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/exportops/exportops"
)

// Conversation is one line of the data set, in the form that chat models are
// fine-tuned on, and what is known about it.
type Conversation struct {
	ID        string         `json:"id,omitempty"`
	Topic     string         `json:"topic,omitempty"`
	CreatedAt exportops.Time `json:"created_at,omitzero"`
	Messages  []Message      `json:"messages"`
}

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"` // system, user or assistant
	Content string `json:"content"`
}

// Source opens a data set: JSON Lines, a Conversation each.
type Source func() (io.ReadCloser, error)

//go:embed conversations.jsonl
var embedded []byte

// Embedded is the Source of the conversations that come with the program.
func Embedded() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(embedded)), nil }

// File returns the Source of a file.
func File(name string) Source {
	return func() (io.ReadCloser, error) { return os.Open(name) }
}

// maxLine bounds one conversation of a data set, in bytes.
const maxLine = 4 << 20

// Conversations reads a data set line by line, skipping blank ones. The first
// line that cannot be understood is yielded as an error that names it, and is
// the last: half a data set is not exported as if it were all.
func Conversations(r io.Reader) iter.Seq2[Conversation, error] {
	return func(yield func(Conversation, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 64<<10), maxLine)
		n := 0
		for lines.Scan() {
			n++
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue
			}
			c, err := parse(lines.Bytes())
			if err != nil {
				yield(Conversation{}, damaged(n, err))
				return
			}
			if !yield(c, nil) {
				return
			}
		}
		if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
			yield(Conversation{}, damaged(n+1, fmt.Errorf("it is longer than %d bytes", maxLine)))
		} else if err != nil {
			yield(Conversation{}, fail(DataSetMissing, err, "the data set cannot be read after line %d", n))
		}
	}
}

func damaged(line int, err error) error {
	return fail(DamagedRecord, err, "line %d of the data set: %v", line, err)
}

func parse(line []byte) (Conversation, error) {
	var c Conversation
	if !utf8.Valid(line) {
		return c, errors.New("it is not valid UTF-8") // the decoder would replace it silently
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields() // what we do not know we would lose
	if err := dec.Decode(&c); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return c, errors.New("it ends in the middle of a value")
		}
		return c, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return c, errors.New("there is more after its end")
	}
	if len(c.Messages) == 0 {
		return c, errors.New("it has no messages")
	}
	for i, m := range c.Messages {
		if m.Role != "system" && m.Role != "user" && m.Role != "assistant" {
			return c, fmt.Errorf("message %d has the role %.20q, want system, user or assistant", i+1, m.Role)
		}
		if strings.TrimSpace(m.Content) == "" {
			return c, fmt.Errorf("message %d is empty", i+1)
		}
	}
	return c, nil
}
