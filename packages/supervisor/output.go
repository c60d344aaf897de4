package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

const (
	// mostBehind is how many bytes a reader may be behind before its program waits.
	mostBehind = 64 << 10
	// descendantsWait is how long output is awaited after the end of its program.
	descendantsWait = 100 * time.Millisecond
	// mostAfter is the most that is read after that: what fits into a pipe.
	mostAfter = 64 << 10
	// mostDrains bounds the outputs that are read and dropped because descendants of ended programs hold them.
	mostDrains = 64
)

var drains = counter{most: mostDrains}

var errNoRoom = errors.New("no room")

// reader is a client that follows a program's output.
type reader struct {
	at    int64
	watch bool // The program does not wait for it.
}

// pump reads a program's output into its ring, until its end or what is there when nothing more is awaited.
func (p *program) pump(file *os.File, kind frameType) {
	defer p.pumps.Done()
	raw, err := file.SyscallConn()
	for late := 0; err == nil && late < mostAfter && p.awaitRoom(); {
		n := 0
		waiting := raw.Read(func(fd uintptr) bool {
			n, err = p.readOutput(kind, int(fd))
			return err != syscall.EAGAIN
		})
		if errors.Is(waiting, os.ErrDeadlineExceeded) {
			raw.Control(func(fd uintptr) { n, err = p.readOutput(kind, int(fd)) })
			late += max(n, 0)
		} else if waiting != nil {
			return
		}
		switch {
		case err == errNoRoom || err == syscall.EINTR:
			err = nil
		case n <= 0:
			return
		}
	}
}

// readOutput reads what there is, without waiting.
func (p *program) readOutput(kind frameType, fd int) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	room := p.room()
	if len(room) == 0 {
		return 0, errNoRoom
	}
	n, err := syscall.Read(fd, room)
	if n > 0 {
		p.ring.filled(n, kind, now())
		p.cond.Broadcast()
	}
	return n, err
}

// awaitRoom waits for the readers for whom the program has to wait; false if the output is not wanted any more.
func (p *program) awaitRoom() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.outputOver && len(p.room()) == 0 {
		p.cond.Wait()
	}
	return !p.outputOver
}

// room is where output may be read to now. The caller locks.
func (p *program) room() []byte {
	slowest := p.slowest()
	if p.outputOver || p.ring.end-slowest > mostBehind {
		return nil
	}
	return p.ring.room(slowest)
}

// slowest is the offset from which on the output must not be lost. The caller locks.
func (p *program) slowest() int64 {
	isPiped := p.terminal == nil
	if p.kept && isPiped {
		return noReader
	}
	if isPiped && len(p.readers) == 0 {
		return p.abandonedAt
	}
	slowest := int64(noReader)
	for r := range p.readers {
		if !r.watch {
			slowest = min(slowest, r.at)
		}
	}
	return slowest
}

// follow sends the output from a reader's offset on, until the program's end or the offset to.
func (p *program) follow(s *stream, r *reader, to int64) error {
	defer context.AfterFunc(s.ctx, p.wake)()
	for {
		p.mu.Lock()
		for r.at >= p.ring.end && r.at < to && !p.outputOver && s.ctx.Err() == nil {
			p.cond.Wait()
		}
		isAll := r.at >= min(p.ring.end, to)
		p.mu.Unlock()
		if s.ctx.Err() != nil {
			return errCancelled
		}
		if isAll {
			return nil
		}
		err := s.sendData(outputHead+1, func(room []byte) (frameType, int, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			n, at, kind, when := p.ring.read(r.at, room[outputHead:outputHead+min(int64(len(room)-outputHead), to-r.at)])
			r.at = at + int64(n)
			p.cond.Broadcast()
			if n == 0 {
				return noFrame, 0, nil
			}
			binary.BigEndian.PutUint64(room, uint64(at))
			binary.BigEndian.PutUint64(room[8:], uint64(when))
			return kind, outputHead + n, nil
		})
		if err != nil {
			return err
		}
	}
}

func (p *program) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cond.Broadcast()
}

// drain reads and drops what descendants of an ended program write, so that they do not fail.
func drain(file *os.File) {
	defer file.Close()
	if drains.add(1) {
		defer drains.release(1)
		file.SetReadDeadline(time.Time{})
		io.Copy(io.Discard, file)
	}
}

func now() int64 { return time.Now().UnixMilli() }
