package main

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"syscall"
	"time"
)

const (
	// mostBehind is how many bytes a reader may be behind before its program waits.
	mostBehind = 64 << 10
	// descendantsWait is how long output is awaited after the end of its program.
	descendantsWait = 100 * time.Millisecond
	// mostAfter is the most that is read after that of each output: what fits into a pipe.
	mostAfter = 64 << 10
	// A program that writes less than littleOutput at a time gets gatherWait to write more, once it writes all the time:
	// under gVisor, each wakeup and each frame costs as much as copying some KiB. musl's stdio writes 1 KiB.
	littleOutput = 8 << 10
	gatherWait   = 500 * time.Microsecond
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

// pump reads a program's output into its ring until all its writers have closed it.
func (p *program) pump(file *os.File, kind frameType) {
	defer p.pumpEnds(file, kind)
	raw, err := file.SyscallConn()
	if err != nil {
		return
	}
	late, last := 0, time.Time{}
	for p.awaitRoom(late) {
		got, err := 0, errNoRoom
		waited := raw.Read(func(fd uintptr) bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			got, err = 0, errNoRoom // If something has changed since awaitRoom, which then decides again.
			for isFull := true; isFull && got < mostData && p.hasRoom(); {
				var n int
				n, isFull, err = p.ring.fill(kind, now(), func(b []byte) (int, error) { return syscall.Read(int(fd), b) })
				got += max(n, 0)
			}
			isIdle := got == 0 && err == syscall.EAGAIN
			if p.graceOver {
				late += got
			}
			p.idle[kind] = isIdle || late >= mostAfter
			p.cond.Broadcast()
			return !isIdle
		})
		if waited != nil || got == 0 && err != errNoRoom && err != syscall.EINTR {
			return
		}
		if got < littleOutput && time.Since(last) < gatherWait {
			time.Sleep(gatherWait)
		}
		last = time.Now()
	}
	if !drains.take() {
		return
	}
	defer drains.release()
	scrap := make([]byte, 1<<10)
	for {
		if _, err := file.Read(scrap); err != nil {
			return
		}
	}
}

func (p *program) pumpEnds(file *os.File, kind frameType) {
	p.mu.Lock()
	delete(p.idle, kind)
	p.cond.Broadcast()
	p.mu.Unlock()
	if p.terminal == nil {
		file.Close()
	}
}

// awaitRoom waits for the readers for whom the program has to wait; false if the output is not wanted any more.
func (p *program) awaitRoom(late int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.outputOver && (late >= mostAfter || !p.hasRoom()) {
		p.cond.Wait()
	}
	return !p.outputOver
}

// hasRoom reports whether more output may be read, and makes room for it. The caller locks.
func (p *program) hasRoom() bool {
	slowest := p.slowest()
	return !p.outputOver && p.ring.end-slowest <= mostBehind && p.ring.reserve(slowest)
}

// slowest is the offset from which on the output must not be lost. The caller locks.
func (p *program) slowest() int64 {
	isPiped := p.terminal == nil
	if p.kept && isPiped {
		return noReader
	}
	slowest, count := int64(noReader), 0
	for r := range p.readers {
		if count++; !r.watch {
			slowest = min(slowest, r.at)
		}
	}
	if count == 0 && isPiped {
		return p.abandonedAt
	}
	return slowest
}

// follow sends the output from an offset on, until the program's end or the offset to.
func (p *program) follow(s *stream, r *reader, to int64) error {
	stop := context.AfterFunc(s.ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cond.Broadcast()
	})
	defer stop()
	for {
		p.mu.Lock()
		for r.at >= p.ring.end && r.at < to && !p.outputOver && s.ctx.Err() == nil {
			p.cond.Wait()
		}
		isAll := r.at >= to || r.at >= p.ring.end
		most := int(min(mostData-outputHead, p.ring.end-r.at, to-r.at))
		p.mu.Unlock()
		if s.ctx.Err() != nil {
			return errCancelled
		}
		if isAll {
			return nil
		}
		credit, err := s.spend(outputHead+1, outputHead+most)
		if err != nil {
			return err
		}
		sent := 0
		s.c.buffer(func(b []byte) error {
			p.mu.Lock()
			n, at, kind, when := p.ring.read(r.at, b[:credit-outputHead])
			for n > 0 { // What follows of the same kind and time.
				more, next, itsKind, later := p.ring.read(at+int64(n), b[n:credit-outputHead])
				if more == 0 || next != at+int64(n) || itsKind != kind || later-when > shareMs {
					break
				}
				n += more
			}
			r.at = at + int64(n)
			p.cond.Broadcast()
			p.mu.Unlock()
			if n == 0 {
				return nil
			}
			var head [outputHead]byte
			binary.BigEndian.PutUint64(head[:], uint64(at))
			binary.BigEndian.PutUint64(head[8:], uint64(when))
			s.send(kind, head[:], b[:n])
			sent = outputHead + n
			return nil
		})
		s.refund(credit - sent)
	}
}

// settle waits for the output of a program that has ended, but not for its descendants.
func (p *program) settle() {
	timer := time.AfterFunc(descendantsWait, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.graceOver = true
		p.cond.Broadcast()
	})
	defer timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.outputOver && len(p.idle) > 0 && !(p.graceOver && p.isIdle()) {
		p.cond.Wait()
	}
	p.outputOver = true
	p.cond.Broadcast()
}

// isIdle reports whether no output has bytes that are awaited. The caller locks.
func (p *program) isIdle() bool {
	for _, idle := range p.idle {
		if !idle {
			return false
		}
	}
	return true
}

func now() int64 { return time.Now().UnixMilli() }
