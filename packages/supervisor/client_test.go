package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// transport is a command that bridges to a supervisor in a container; without it, the tests run one in this process.
var transport = os.Getenv("BERTH_SUPERVISOR_EXEC")

// local is the supervisor of this process.
var local = sync.OnceValue(func() *supervisor {
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(mostHeap)
	sup := newSupervisor("0")
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD, syscall.SIGPIPE)
	go func() {
		for range ended {
			sup.reap()
		}
	}()
	return sup
})

// client is a small client of the protocol.
type client struct {
	t       *testing.T
	out     io.Writer
	close   func()
	hello   map[string]any
	mu      sync.Mutex
	last    uint32
	streams map[uint32]*answer
	bye     chan frame
}

// answer is what the supervisor sends on one stream.
type answer struct {
	c      *client
	id     uint32
	frames chan frame
}

func dial(t *testing.T) *client {
	t.Helper()
	if transport == "" && os.Getuid() != 0 {
		t.Skip("only root can work with the rights of others")
	}
	c := &client{t: t, streams: map[uint32]*answer{}, bye: make(chan frame, 1)}
	var in io.Reader
	if transport != "" {
		words := strings.Fields(transport)
		command := exec.Command(words[0], words[1:]...)
		stdin, _ := command.StdinPipe()
		in, _ = command.StdoutPipe()
		command.Stderr = os.Stderr
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		c.out, c.close = stdin, func() { command.Process.Kill(); command.Wait() }
	} else {
		ours, theirs := net.Pipe()
		go local().serve(theirs)
		in, c.out, c.close = ours, ours, func() { ours.Close() }
	}
	t.Cleanup(c.close)
	c.send(frameHello, 0, []byte(`{"protocol":1}`))
	f, err := readServerFrame(in)
	if err != nil || f.kind != frameHello {
		t.Fatalf("no hello: %v %v", f, err)
	}
	json.Unmarshal(f.payload, &c.hello)
	go c.pump(in)
	return c
}

func readServerFrame(r io.Reader) (frame, error) {
	var head [headerBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	f := frame{kind: frameType(head[8]), stream: binary.BigEndian.Uint32(head[4:])}
	f.payload = make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(r, f.payload)
	return f, err
}

func (c *client) pump(in io.Reader) {
	for {
		f, err := readServerFrame(in)
		if err != nil {
			close(c.bye)
			return
		}
		if f.kind == framePing {
			c.send(framePong, 0, f.payload)
			continue
		}
		if f.stream == 0 {
			c.bye <- f
			continue
		}
		c.mu.Lock()
		a := c.streams[f.stream]
		c.mu.Unlock()
		a.frames <- f
	}
}

// appendFrame appends a frame of the given parts.
func appendFrame(to []byte, kind frameType, stream uint32, parts ...[]byte) []byte {
	payload := bytes.Join(parts, nil)
	return append(appendHead(to, kind, stream, len(payload)), payload...)
}

func (c *client) send(kind frameType, stream uint32, parts ...[]byte) {
	c.out.Write(appendFrame(nil, kind, stream, parts...))
}

type fields = map[string]any

// open begins an operation.
func (c *client) open(op string, request fields) *answer {
	text := fields{"op": op}
	for name, value := range request {
		if path, isText := value.(string); isText && strings.Contains("path from to target", name) {
			value = []byte(path)
		}
		text[name] = value
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	a := &answer{c: c, id: c.last, frames: make(chan frame, 4096)}
	c.streams[c.last] = a
	c.send(frameOpen, c.last, encode(text))
	return a
}

func (a *answer) data(text string) *answer { a.c.send(frameData, a.id, []byte(text)); return a }
func (a *answer) end() *answer             { a.c.send(frameEnd, a.id); return a }
func (a *answer) cancel() *answer          { a.c.send(frameCancel, a.id); return a }
func (a *answer) say(message any) *answer  { a.c.send(frameMessage, a.id, encode(message)); return a }

// next waits for a frame.
func (a *answer) next() frame {
	select {
	case f, ok := <-a.frames:
		if !ok {
			a.c.t.Fatal("the connection has ended")
		}
		return f
	case <-time.After(30 * time.Second):
		a.c.t.Helper()
		a.c.t.Fatal("no answer")
		return frame{}
	}
}

// text waits for a piece of output.
func (a *answer) text() string {
	for {
		if f := a.next(); f.kind == frameStdout {
			return string(f.payload[outputHead:])
		} else if f.kind == frameDone || f.kind == frameFail {
			a.c.t.Fatalf("%s", f.payload)
		}
	}
}

// message waits for a MESSAGE.
func (a *answer) message() fields {
	a.c.t.Helper()
	f := a.next()
	if f.kind != frameMessage {
		a.c.t.Fatalf("frame %#x %s instead of a message", f.kind, f.payload)
	}
	var m fields
	json.Unmarshal(f.payload, &m)
	return m
}

// outcome is how an operation ended, and all data before.
type outcome struct {
	code, reason   string // Of FAIL.
	result         fields
	data           []byte // DATA, or STDOUT.
	errors         []byte // STDERR.
	offset         int64  // Of the end of the last output.
	lost           int64
	messages       []fields
	creditConsumed int
}

// wait takes all frames until the end, and gives credit for data.
func (a *answer) wait() (o outcome) {
	a.c.t.Helper()
	for {
		f := a.next()
		switch f.kind {
		case frameDone:
			json.Unmarshal(f.payload, &o.result)
			return o
		case frameFail:
			var text failure
			json.Unmarshal(f.payload, &text)
			o.code, o.reason = text.Code, text.Reason
			return o
		case frameMessage:
			var m fields
			json.Unmarshal(f.payload, &m)
			o.messages = append(o.messages, m)
			continue
		case frameData:
			o.data = append(o.data, f.payload...)
		case frameStdout, frameStderr:
			at := int64(binary.BigEndian.Uint64(f.payload))
			if len(o.data)+len(o.errors) > 0 || at > 0 {
				o.lost += at - o.offset
			}
			if when := int64(binary.BigEndian.Uint64(f.payload[8:])); time.Since(time.UnixMilli(when)).Abs() > time.Hour {
				a.c.t.Errorf("time of output %d", when)
			}
			o.offset = at + int64(len(f.payload)-outputHead)
			if f.kind == frameStdout {
				o.data = append(o.data, f.payload[outputHead:]...)
			} else {
				o.errors = append(o.errors, f.payload[outputHead:]...)
			}
		}
		if n := len(f.payload); n > 0 && f.kind != frameCredit {
			o.creditConsumed += n
			a.c.send(frameCredit, a.id, binary.BigEndian.AppendUint32(nil, uint32(n)))
		}
	}
}

// rows parses an answer of rows.
func (o outcome) rows() (all []fields) {
	for line := range bytes.SplitSeq(bytes.TrimSpace(o.data), []byte("\n")) {
		var row fields
		if json.Unmarshal(line, &row) == nil {
			all = append(all, row)
		}
	}
	return all
}

var idCount int

func newID() string {
	idCount++
	return fmt.Sprintf("test-%d-%d", os.Getpid(), idCount)
}

// sh starts a shell's command.
func (c *client) sh(script string, more fields) *answer {
	request := fields{"id": newID(), "argv": []string{"/bin/sh", "-c", script}, "cwd": "/"}
	for name, value := range more {
		request[name] = value
	}
	return c.open("start", request)
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatal("never: " + what)
}
