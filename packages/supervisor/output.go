package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"sort"
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

const (
	leastRing = 8 << 10
	// mostRings is the memory of all rings, besides leastRing of each.
	mostRings = 16 << 20
	// bytesPerMark bounds the pieces of a ring: a program may write single bytes to stdout and stderr in turns.
	bytesPerMark = 64
	// shareMs is how long pieces of output are counted as one, in milliseconds.
	shareMs = 10
	// noReader is the position of the slowest reader if the ring need not wait for any.
	noReader = math.MaxInt64
)

// mark is where a piece of output begins, of one kind and time.
type mark struct {
	at   int64
	kind frameType
	time int64
}

// ring keeps the end of a program's output, in memory that grows as it is filled. Offsets count the program's output
// from its beginning; the byte at offset i is at i modulo the ring's size. The caller locks.
type ring struct {
	most       int
	bytes      []byte
	begin, end int64
	marks      []mark
}

// ringMemory counts the memory of all rings but the first part of each.
var ringMemory = counter{most: mostRings}

// part is what is at an offset, up to another or to the end of the memory.
func (r *ring) part(from, to int64) []byte {
	at := int(from % int64(len(r.bytes)))
	return r.bytes[at:min(len(r.bytes), at+int(to-from))]
}

func (r *ring) isFull() bool {
	return int(r.end-r.begin) == len(r.bytes) || len(r.marks) > len(r.bytes)/bytesPerMark
}

// room is where the next output goes, in place of the oldest, but not of what is behind the offset slowest; it may be
// empty.
func (r *ring) room(slowest int64) []byte {
	if r.isFull() {
		r.grow()
	}
	if len(r.marks) > len(r.bytes)/bytesPerMark {
		if r.marks[1].at > slowest {
			return nil
		}
		r.discard(r.marks[1].at)
	}
	needed := r.end - min(max(slowest, r.begin), r.end)
	return r.part(r.end, r.end+int64(len(r.bytes))-needed)
}

// grow doubles the memory, if there is any.
func (r *ring) grow() {
	size := max(leastRing, min(2*len(r.bytes), r.most))
	if more := size - len(r.bytes); more == 0 || len(r.bytes) > 0 && !ringMemory.add(more) {
		return
	}
	bytes := make([]byte, size)
	for at := r.begin; at < r.end; {
		at += int64(copy(bytes[at%int64(size):], r.part(at, r.end)))
	}
	r.bytes = bytes
}

// filled notes that n bytes have been put into the room.
func (r *ring) filled(n int, kind frameType, now int64) {
	count := len(r.marks)
	if count == 0 || r.marks[count-1].kind != kind || now-r.marks[count-1].time > shareMs {
		r.marks = append(r.marks, mark{at: r.end, kind: kind, time: now})
	}
	r.end += int64(n)
	r.discard(max(r.begin, r.end-int64(len(r.bytes))))
}

// discard drops what is before an offset.
func (r *ring) discard(begin int64) {
	r.begin = begin
	for len(r.marks) > 1 && r.marks[1].at <= begin {
		r.marks = r.marks[1:]
	}
}

// read copies the first bytes from an offset on that have one kind and time. The result's offset is greater than the
// one that was asked for if the ring has lost the bytes between.
func (r *ring) read(offset int64, into []byte) (n int, at int64, kind frameType, time int64) {
	at = max(offset, r.begin)
	after := sort.Search(len(r.marks), func(i int) bool { return r.marks[i].at > at })
	if after == 0 {
		return 0, at, noFrame, 0
	}
	end := r.end
	if after < len(r.marks) {
		end = r.marks[after].at
	}
	for n < len(into) && at+int64(n) < end {
		n += copy(into[n:], r.part(at+int64(n), end))
	}
	return n, at, r.marks[after-1].kind, r.marks[after-1].time
}

// release gives the memory back; the ring keeps nothing any more.
func (r *ring) release() {
	ringMemory.release(max(0, len(r.bytes)-leastRing))
	*r = ring{begin: r.end, end: r.end}
}
