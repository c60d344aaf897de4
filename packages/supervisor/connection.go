package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of all connections together, and of one.
const (
	mostConnections = 8
	mostStreams     = 1024
	mostInputs      = 128
	mostUnsent      = 128 << 10
	buffersPerConn  = 2
	helloWithin     = 10 * time.Second
)

// counter counts what exists of a bounded resource.
type counter struct {
	n    atomic.Int64
	most int64
}

func (c *counter) take() bool { return c.add(1) }
func (c *counter) release()   { c.n.Add(-1) }

// add takes n, or nothing if that is too much.
func (c *counter) add(n int) bool {
	if c.n.Add(int64(n)) <= c.most {
		return true
	}
	c.n.Add(int64(-n))
	return false
}

// socket is what a connection needs of its bridge.
type socket interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// conn is one client's connection.
type conn struct {
	sup     *supervisor
	socket  socket
	out     *outbox
	buffers chan []byte

	mu      sync.Mutex
	streams map[uint32]*stream
	last    uint32
}

// serve speaks the protocol until the connection ends, from either side.
func (sup *supervisor) serve(socket socket) {
	c := &conn{sup: sup, socket: socket, out: newOutbox(socket), streams: map[uint32]*stream{}}
	c.buffers = make(chan []byte, buffersPerConn)
	for range buffersPerConn {
		c.buffers <- nil // Made when it is first used.
	}
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
	c.out.close()
	socket.Close()
}

// bye says why the connection ends, and closes it.
func (c *conn) bye(code, message string) {
	c.out.send(frameBye, 0, encode(failure{Code: code, Message: message}))
	c.socket.SetWriteDeadline(time.Now().Add(time.Second))
	c.out.close()
	c.socket.Close()
}

// read takes frames until the connection ends, or the client breaks the protocol.
func (c *conn) read() error {
	buffered := bufio.NewReaderSize(c.socket, 16<<10)
	var buffer [mostData]byte
	c.socket.SetReadDeadline(time.Now().Add(helloWithin))
	f, err := readFrame(buffered, buffer[:])
	if err != nil {
		return err
	}
	c.socket.SetReadDeadline(time.Time{})
	var hello struct{ Protocol int }
	if f.kind != frameHello {
		return noHello
	}
	if json.Unmarshal(f.payload, &hello) != nil {
		return badFrame
	}
	c.out.send(frameHello, 0, encode(c.sup.hello()))
	if hello.Protocol != protocolVersion {
		return badProtocol
	}
	for {
		f, err := readFrame(buffered, buffer[:])
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
		c.out.send(framePong, 0, f.payload)
		return nil
	case framePong:
		return nil
	case frameOpen:
		return c.open(f)
	}
	c.mu.Lock()
	s, last := c.streams[f.stream], c.last
	c.mu.Unlock()
	if f.stream > last {
		return badStream
	}
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
		return s.receive(f.payload)
	case frameCredit:
		return s.addCredit(binary.BigEndian.Uint32(f.payload))
	case frameEnd:
		s.endInput()
	case frameCancel:
		s.interrupt()
	}
	return nil
}

// open begins the operation that a client asks for.
func (c *conn) open(f frame) error {
	if f.stream <= c.last {
		return badStream
	}
	c.mu.Lock()
	c.last = f.stream
	c.mu.Unlock()
	if !json.Valid(f.payload) {
		return badFrame
	}
	var r request
	run, takesData, err := c.sup.admit(f.payload, &r)
	if err != nil {
		c.out.send(frameFail, f.stream, encode(failureOf(err)))
		return nil
	}
	s := newStream(c, f.stream, takesData)
	c.mu.Lock()
	c.streams[f.stream] = s
	c.mu.Unlock()
	go func() {
		result, err := run(s, &r)
		s.close(result, err)
	}()
	return nil
}

// admit reads a request, and counts its stream.
func (sup *supervisor) admit(text []byte, r *request) (run operation, takesData bool, err error) {
	if err := json.Unmarshal(text, r); err != nil {
		return nil, false, invalid(err.Error())
	}
	run, takesData = operations[r.Op], r.takesData()
	switch {
	case run == nil:
		return nil, false, invalid("unknown operation")
	case !sup.streams.take():
		return nil, false, tooMany("streams")
	case takesData && !sup.inputs.take():
		sup.streams.release()
		return nil, false, tooMany("streams that take data")
	}
	return run, takesData, nil
}

// buffer runs work with one of the connection's few buffers, of mostData bytes.
func (c *conn) buffer(work func([]byte) error) error {
	b := <-c.buffers
	if b == nil {
		b = make([]byte, mostData)
	}
	defer func() { c.buffers <- b }()
	return work(b)
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

// send waits while more than mostUnsent bytes wait before the frame. After the connection's end it does nothing.
func (o *outbox) send(kind frameType, stream uint32, parts ...[]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.unsent) > mostUnsent && !o.closed {
		o.cond.Wait()
	}
	if o.closed {
		return
	}
	o.unsent = appendFrame(o.unsent, kind, stream, parts...)
	o.cond.Broadcast()
}

// close sends what there is, unless the connection is broken, and ends.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.cond.Broadcast()
	o.mu.Unlock()
	<-o.done
}

func (o *outbox) run(w io.Writer) {
	defer close(o.done)
	var spare []byte
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		for len(o.unsent) == 0 && !o.closed {
			o.cond.Wait()
		}
		if len(o.unsent) == 0 {
			return
		}
		batch := o.unsent
		o.unsent = spare[:0]
		o.cond.Broadcast()
		o.mu.Unlock()
		_, err := w.Write(batch)
		spare = batch[:0]
		if cap(spare) > mostWords {
			spare = nil // What a burst took is not kept.
		}
		o.mu.Lock()
		if err != nil {
			o.closed = true
			o.unsent = nil
			o.cond.Broadcast()
			return
		}
	}
}
