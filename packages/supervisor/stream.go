package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"sync"
)

// The credit that a stream begins with, and what operations add.
const (
	creditToClient     = 256 << 10
	creditToSupervisor = 16 << 10
	transferCredit     = 240 << 10
	programCredit      = 48 << 10
	mostExtraCredit    = 2 << 20
)

// stream is one operation of a client, with its credit in both directions.
type stream struct {
	c        *conn
	sup      *supervisor
	id       uint32
	ctx      context.Context
	cancel   context.CancelFunc
	messages chan []byte

	sending  sync.Mutex
	isClosed bool // No frame follows DONE or FAIL.

	mu        sync.Mutex
	cond      *sync.Cond
	credit    int64 // Bytes that may be sent to the client.
	inbox     []byte
	takesData bool
	hasEnded  bool // The client sends no more data.
	allowed   int  // Bytes that the client may send now.
	window    int  // Bytes that the client may have sent and that are not consumed.
	extra     int  // The part of window that is taken from the common memory.
	owed      int  // Bytes that were consumed and not given back as credit.
}

func newStream(c *conn, id uint32, takesData bool) *stream {
	s := &stream{c: c, sup: c.sup, id: id, messages: make(chan []byte, 4), credit: creditToClient, takesData: takesData}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.cond = sync.NewCond(&s.mu)
	if takesData {
		s.allowed, s.window = creditToSupervisor, creditToSupervisor
	}
	return s
}

// close reports the outcome. Frames of the client that arrive afterwards are dropped.
func (s *stream) close(result any, err error) {
	s.interrupt()
	s.c.mu.Lock()
	delete(s.c.streams, s.id)
	s.c.mu.Unlock()
	s.mu.Lock()
	extra := s.extra
	s.extra, s.inbox = 0, nil
	s.mu.Unlock()
	s.sup.extraCredit.Add(int64(-extra))
	s.sup.streams.release()
	if s.takesData {
		s.sup.inputs.release()
	}
	kind, payload := frameDone, []byte("{}")
	if err != nil {
		kind, payload = frameFail, encode(failureOf(err))
	} else if result != nil {
		payload = encode(result)
	}
	s.send(kind, payload)
}

// send sends a frame of the stream; none after its end.
func (s *stream) send(kind frameType, parts ...[]byte) {
	s.sending.Lock()
	defer s.sending.Unlock()
	if !s.isClosed {
		s.isClosed = kind == frameDone || kind == frameFail
		s.c.out.send(kind, s.id, parts...)
	}
}

// interrupt cancels the operation.
func (s *stream) interrupt() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cond.Broadcast()
}

// tell sends an intermediate answer.
func (s *stream) tell(message any) { s.send(frameMessage, encode(message)) }

// ask waits for a message of the client.
func (s *stream) ask(into any) error {
	select {
	case text := <-s.messages:
		if err := json.Unmarshal(text, into); err != nil {
			return invalid(err.Error())
		}
		return nil
	case <-s.ctx.Done():
		return errCancelled
	}
}

// spend waits for credit of at least least bytes, and takes at most most.
func (s *stream) spend(least, most int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.credit < int64(least) && s.ctx.Err() == nil {
		s.cond.Wait()
	}
	if s.ctx.Err() != nil {
		return 0, errCancelled
	}
	n := int(min(s.credit, int64(most)))
	s.credit -= int64(n)
	return n, nil
}

// refund gives back credit that was taken and not used.
func (s *stream) refund(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credit += int64(n)
}

func (s *stream) addCredit(n uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credit += int64(n)
	if s.credit > math.MaxInt32 {
		return overCredit
	}
	s.cond.Broadcast()
	return nil
}

// Write sends data to the client, as credit permits.
func (s *stream) Write(data []byte) (int, error) {
	sent := 0
	for sent < len(data) {
		n, err := s.spend(1, min(len(data)-sent, mostData))
		if err != nil {
			return sent, err
		}
		s.send(frameData, data[sent:sent+n])
		sent += n
	}
	return sent, nil
}

// grow gives the client more credit, as far as the common memory goes.
func (s *stream) grow(n int) {
	got := n
	if over := s.sup.extraCredit.Add(int64(n)) - mostExtraCredit; over > 0 {
		got = max(0, n-int(over))
		s.sup.extraCredit.Add(int64(got - n))
	}
	if got == 0 {
		return
	}
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		s.sup.extraCredit.Add(int64(-got))
		return
	}
	s.extra += got
	s.window += got
	s.allowed += got
	s.mu.Unlock()
	s.give(got)
}

func (s *stream) give(n int) {
	s.send(frameCredit, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

// receive takes data of the client; it never waits.
func (s *stream) receive(data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(data) > s.allowed || s.hasEnded {
		return overCredit
	}
	s.allowed -= len(data)
	s.inbox = append(s.inbox, data...)
	s.cond.Broadcast()
	return nil
}

func (s *stream) endInput() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hasEnded = true
	s.cond.Broadcast()
}

// take waits for data of the client, and returns all of it; io.EOF after its end. The caller calls consumed.
func (s *stream) take() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.inbox) == 0 && !s.hasEnded && s.ctx.Err() == nil {
		s.cond.Wait()
	}
	if s.ctx.Err() != nil {
		return nil, errCancelled
	}
	if len(s.inbox) == 0 {
		return nil, io.EOF
	}
	data := s.inbox
	s.inbox = nil
	return data, nil
}

// consumed gives credit for data that was used.
func (s *stream) consumed(n int) {
	s.mu.Lock()
	s.owed += n
	give := 0
	if s.owed*4 >= s.window && !s.hasEnded {
		give, s.owed = s.owed, 0
		s.allowed += give
	}
	s.mu.Unlock()
	if give > 0 {
		s.give(give)
	}
}

// input reads the client's data as an io.Reader.
type input struct {
	s    *stream
	data []byte
}

func (in *input) Read(to []byte) (int, error) {
	if len(in.data) == 0 {
		data, err := in.s.take()
		if err != nil {
			return 0, err
		}
		in.data = data
	}
	n := copy(to, in.data)
	in.data = in.data[n:]
	in.s.consumed(n)
	return n, nil
}

// rows sends JSON objects, a line each, in frames of whole rows.
type rows struct {
	s    *stream
	text []byte
}

// add sends the rows before once there are enough of them.
func (r *rows) add(row any) error {
	line := append(encode(row), '\n')
	if len(r.text)+len(line) > mostData/2 {
		if err := r.flush(); err != nil {
			return err
		}
	}
	r.text = append(r.text, line...)
	return nil
}

func (r *rows) flush() error {
	if len(r.text) == 0 {
		return nil
	}
	if _, err := r.s.spend(len(r.text), len(r.text)); err != nil {
		return err
	}
	r.s.send(frameData, r.text)
	r.text = r.text[:0]
	return nil
}
