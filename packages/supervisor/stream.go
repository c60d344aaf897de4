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
	transferCredit     = 496 << 10
	programCredit      = 48 << 10
)

// mostShared is the memory that all streams share, besides what each of them may take, in bytes.
const mostShared = 4 << 20

// stream is one operation of a client, with its credit in both directions.
type stream struct {
	c         *conn
	sup       *supervisor
	id        uint32
	ctx       context.Context
	cancel    context.CancelFunc
	messages  chan []byte
	takesData bool
	isClosed  bool // No frame follows DONE or FAIL. Guarded by the outbox.

	mu       sync.Mutex
	cond     *sync.Cond
	credit   int64 // Bytes that may be sent to the client.
	inbox    []byte
	hasEnded bool // The client sends no more data.
	allowed  int  // Bytes that the client may send now.
	taken    int  // Bytes that take has returned last.
	shared   int  // What the stream has of the shared memory.
	onCancel func()
}

func newStream(c *conn, id uint32, takesData bool) *stream {
	s := &stream{c: c, sup: c.sup, id: id, messages: make(chan []byte, 4), credit: creditToClient, takesData: takesData}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.cond = sync.NewCond(&s.mu)
	if takesData {
		s.allowed = creditToSupervisor
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
	s.sup.shared.release(s.shared)
	s.mu.Unlock()
	s.sup.streams.release(1)
	if s.takesData {
		s.sup.inputs.release(1)
	}
	kind, payload := frameDone, []byte("{}")
	if err != nil {
		kind, payload = frameFail, encode(failureOf(err))
	} else if result != nil {
		payload = encode(result)
	}
	s.fill(func(to []byte) (frameType, int, error) {
		s.isClosed = true
		return kind, copy(to, payload), nil
	})
}

// interrupt cancels the operation.
func (s *stream) interrupt() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cond.Broadcast()
}

// whenCancelled has work done when CANCEL arrives, before the client's later frames are read.
func (s *stream) whenCancelled(work func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onCancel = work
}

// cancelled handles CANCEL.
func (s *stream) cancelled() {
	s.interrupt()
	s.mu.Lock()
	work := s.onCancel
	s.mu.Unlock()
	if work != nil {
		work()
	}
}

// fill sends a frame as the outbox does; none after the stream's end.
func (s *stream) fill(work func([]byte) (frameType, int, error)) error {
	return s.c.fill(s.id, func(to []byte) (frameType, int, error) {
		if s.isClosed {
			return noFrame, 0, errCancelled
		}
		return work(to)
	})
}

// send sends a frame that counts against no credit.
func (s *stream) send(kind frameType, payload []byte) {
	s.fill(func(to []byte) (frameType, int, error) { return kind, copy(to, payload), nil })
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

// sendData sends a frame once the client has given credit for least bytes. work puts as many as there is room for.
func (s *stream) sendData(least int, work func(room []byte) (frameType, int, error)) error {
	s.mu.Lock()
	for s.credit < int64(least) && s.ctx.Err() == nil {
		s.cond.Wait()
	}
	room := min(s.credit, mostData)
	s.mu.Unlock()
	if s.ctx.Err() != nil {
		return errCancelled
	}
	sent := 0
	err := s.fill(func(to []byte) (kind frameType, n int, err error) {
		kind, sent, err = work(to[:room])
		return kind, sent, err
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credit -= int64(sent)
	return err
}

// Write sends data to the client, as credit permits.
func (s *stream) Write(data []byte) (sent int, err error) {
	for sent < len(data) && err == nil {
		err = s.sendData(1, func(room []byte) (frameType, int, error) {
			n := copy(room, data[sent:])
			sent += n
			return frameData, n, nil
		})
	}
	return sent, err
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

// share takes from the memory of all streams until the end of this one; false if there is not enough.
func (s *stream) share(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || !s.sup.shared.add(n) {
		return false
	}
	s.shared += n
	return true
}

func (s *stream) grow(n int) {
	if s.share(n) {
		s.give(n)
	}
}

func (s *stream) give(n int) {
	s.mu.Lock()
	isWanted := n > 0 && !s.hasEnded
	s.allowed += n
	s.mu.Unlock()
	if isWanted {
		s.send(frameCredit, binary.BigEndian.AppendUint32(nil, uint32(n)))
	}
}

// accept keeps data of the client; it never waits.
func (s *stream) accept(data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(data) > s.allowed || s.hasEnded {
		return overCredit
	}
	s.allowed -= len(data)
	if len(s.inbox) == 0 {
		s.inbox = data
	} else {
		s.inbox = append(s.inbox, data...)
	}
	s.cond.Broadcast()
	return nil
}

func (s *stream) endInput() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hasEnded = true
	s.cond.Broadcast()
}

// take waits for data of the client, and returns all of it; io.EOF after its end. What it returned before is given
// back as credit.
func (s *stream) take() ([]byte, error) {
	s.give(s.taken)
	s.taken = 0
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
	s.inbox, s.taken = nil, len(data)
	return data, nil
}

// receive passes the client's data on, until its end. The client may send more at once, if there is memory.
func (s *stream) receive(more int, work func([]byte) error) error {
	s.grow(more)
	for {
		data, err := s.take()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := work(data); err != nil {
			return err
		}
	}
}

// input reads the client's data as an io.Reader.
type input struct {
	s    *stream
	data []byte
}

func (in *input) Read(to []byte) (n int, err error) {
	if len(in.data) == 0 {
		in.data, err = in.s.take()
	}
	n = copy(to, in.data)
	in.data = in.data[n:]
	return n, err
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
	err := r.s.sendData(len(r.text), func(room []byte) (frameType, int, error) {
		return frameData, copy(room, r.text), nil
	})
	r.text = r.text[:0]
	return err
}
