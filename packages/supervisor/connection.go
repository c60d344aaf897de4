package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of all connections together, and of one.
const (
	mostConnections = 8
	mostStreams     = 1024
	mostInputs      = 128
	mostUnsent      = 32 << 10 // Bytes that wait before another frame.
	helloWithin     = 10 * time.Second
)

// The supervisor asks a client that says nothing, at most twice, whether it is still there. containerd (1.7) keeps the
// input of a `connect` open if Docker was killed, or has left its containers running.
const (
	silentAfter  = time.Minute
	answerWithin = 15 * time.Second
	mostAsked    = 2 // A sandbox that was paused finds the first time over before it reads the answer.
)

var errSilent = errors.New("the client does not answer")

// counter counts what exists of a bounded resource.
type counter struct {
	n    atomic.Int64
	most int64
}

// add takes n, or nothing if that is too much.
func (c *counter) add(n int) bool {
	if c.n.Add(int64(n)) <= c.most {
		return true
	}
	c.n.Add(int64(-n))
	return false
}

func (c *counter) release(n int) { c.n.Add(int64(-n)) }

// socket is what a connection needs of its bridge.
type socket interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// conn is one client's connection.
type conn struct {
	sup    *supervisor
	socket socket
	*outbox

	last      uint32 // The latest stream.
	mu        sync.Mutex
	greeted   bool
	isDoubted bool // The time of a reader was cut short.
	streams   map[uint32]*stream
}

// serve speaks the protocol until the connection ends, from either side.
func (sup *supervisor) serve(socket socket) {
	c := newConn(sup, socket)
	sup.doubtConnections()
	sup.connections.Store(c, nil)
	defer sup.connections.Delete(c)
	err := c.read()
	var broken violation
	if errors.As(err, &broken) {
		c.bye(string(broken), "the client broke the protocol")
	}
	c.mu.Lock()
	for _, s := range c.streams {
		s.interrupt()
	}
	c.mu.Unlock()
	c.close()
}

// doubtConnections asks all clients whether they are still there: the one that comes may be one of them again.
func (sup *supervisor) doubtConnections() {
	sup.connections.Range(func(each, _ any) bool {
		c := each.(*conn)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.greeted {
			c.isDoubted = true
			c.socket.SetReadDeadline(time.Now())
		}
		return true
	})
}

func newConn(sup *supervisor, socket socket) *conn {
	return &conn{sup: sup, socket: socket, outbox: newOutbox(socket), streams: map[uint32]*stream{}}
}

// close ends the connection, after what waits to be sent.
func (c *conn) close() {
	c.socket.SetWriteDeadline(time.Now().Add(time.Second))
	c.outbox.close()
	c.socket.Close()
}

// bye says why the connection ends, and closes it.
func (c *conn) bye(code, message string) {
	c.socket.SetWriteDeadline(time.Now().Add(time.Second))
	c.send(frameBye, 0, encode(failure{Code: code, Message: message}))
	c.close()
}

// Read reads what the client sends, and fails if it is silent and does not answer.
func (c *conn) Read(to []byte) (int, error) {
	if !c.greeted {
		return c.socket.Read(to)
	}
	until := time.Now().Add(silentAfter)
	for asked := 0; ; {
		c.mu.Lock()
		c.isDoubted = false
		c.socket.SetReadDeadline(until)
		c.mu.Unlock()
		n, err := c.socket.Read(to)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		c.mu.Lock()
		isDoubted := c.isDoubted
		c.mu.Unlock()
		if isDoubted && asked > 0 {
			continue // It has been asked already.
		}
		if asked == mostAsked {
			return 0, errSilent
		}
		asked++
		go c.send(framePing, 0, nil) // Waits if the client does not read either.
		until = time.Now().Add(answerWithin)
	}
}

// read takes frames until the connection ends, or the client breaks the protocol.
func (c *conn) read() error {
	buffered := bufio.NewReaderSize(c, 16<<10)
	c.socket.SetReadDeadline(time.Now().Add(helloWithin))
	f, err := readFrame(buffered)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.greeted = true
	c.mu.Unlock()
	var hello struct{ Protocol int }
	if f.kind != frameHello {
		return noHello
	}
	if json.Unmarshal(f.payload, &hello) != nil {
		return badFrame
	}
	c.send(frameHello, 0, encode(c.sup.hello()))
	if hello.Protocol != protocolVersion {
		return badProtocol
	}
	for {
		f, err := readFrame(buffered)
		if err != nil {
			return err
		}
		if err := c.take(f); err != nil {
			return err
		}
	}
}

// take handles one frame, without waiting for the operation that it belongs to.
func (c *conn) take(f frame) error {
	switch f.kind {
	case frameHello:
		return badFrame
	case framePing:
		c.send(framePong, 0, f.payload)
		return nil
	case framePong:
		return nil
	case frameOpen:
		return c.open(f)
	}
	if f.stream > c.last {
		return badStream
	}
	c.mu.Lock()
	s := c.streams[f.stream]
	c.mu.Unlock()
	if s == nil {
		return nil // The stream was closed when the client sent this.
	}
	switch f.kind {
	case frameMessage:
		if !json.Valid(f.payload) {
			return badFrame
		}
		select {
		case s.messages <- f.payload:
		default:
			return badFrame
		}
	case frameData:
		return s.accept(f.payload)
	case frameCredit:
		return s.addCredit(binary.BigEndian.Uint32(f.payload))
	case frameEnd:
		s.endInput()
	case frameCancel:
		s.cancelled()
	}
	return nil
}

// open begins the operation that a client asks for.
func (c *conn) open(f frame) error {
	if f.stream <= c.last {
		return badStream
	}
	if !json.Valid(f.payload) {
		return badFrame
	}
	c.last = f.stream
	r, run, err := c.sup.admit(f.payload)
	if err != nil {
		c.send(frameFail, f.stream, encode(failureOf(err)))
		return nil
	}
	s := newStream(c, f.stream, r.takesData())
	c.mu.Lock()
	c.streams[f.stream] = s
	c.mu.Unlock()
	go func() {
		result, err := run(s, r)
		s.close(result, err)
	}()
	return nil
}

// admit reads a request, and counts its stream if there is room.
func (sup *supervisor) admit(text []byte) (*request, operation, error) {
	var r request
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, nil, invalid(err.Error())
	}
	run := operations[r.Op]
	switch {
	case run == nil:
		return nil, nil, invalid("unknown operation")
	case !sup.streams.add(1):
		return nil, nil, tooMany("streams")
	case r.takesData() && !sup.inputs.add(1):
		sup.streams.release(1)
		return nil, nil, tooMany("streams that take data")
	}
	return &r, run, nil
}

// outbox collects frames, and writes them in as few calls as the reader's pace allows.
type outbox struct {
	mu     sync.Mutex
	cond   *sync.Cond
	unsent []byte
	closed bool
	done   chan struct{}
}

func newOutbox(w io.Writer) *outbox {
	o := &outbox{done: make(chan struct{})}
	o.cond = sync.NewCond(&o.mu)
	go o.run(w)
	return o
}

// fill adds a frame whose payload work puts into the room that it gets. It waits for a client that does not read,
// and fails after the connection's end.
func (o *outbox) fill(stream uint32, work func(payload []byte) (frameType, int, error)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.unsent) > mostUnsent && !o.closed {
		o.cond.Wait()
	}
	if o.closed {
		return errCancelled
	}
	if o.unsent == nil {
		o.unsent = make([]byte, 0, mostUnsent+headerBytes+mostData)
	}
	payload := len(o.unsent) + headerBytes
	kind, n, err := work(o.unsent[payload : payload+mostData])
	if kind != noFrame {
		o.unsent = appendHead(o.unsent, kind, stream, n)[:payload+n]
		o.cond.Broadcast()
	}
	return err
}

func (o *outbox) send(kind frameType, stream uint32, payload []byte) {
	o.fill(stream, func(to []byte) (frameType, int, error) { return kind, copy(to, payload), nil })
}

// close writes what there is, unless the connection is broken, and ends.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.cond.Broadcast()
	o.mu.Unlock()
	<-o.done
}

// run writes one of two buffers while the other is filled.
func (o *outbox) run(w io.Writer) {
	defer close(o.done)
	o.mu.Lock()
	defer o.mu.Unlock()
	for spare := []byte(nil); ; {
		for len(o.unsent) == 0 && !o.closed {
			o.cond.Wait()
		}
		if len(o.unsent) == 0 {
			return
		}
		batch := o.unsent
		o.unsent = spare
		o.cond.Broadcast()
		o.mu.Unlock()
		_, err := w.Write(batch)
		spare = batch[:0]
		o.mu.Lock()
		if err != nil {
			o.closed, o.unsent = true, spare
			o.cond.Broadcast()
			return
		}
	}
}
