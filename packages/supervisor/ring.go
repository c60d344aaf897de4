package main

import (
	"math"
	"sort"
)

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
