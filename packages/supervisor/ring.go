package main

import (
	"math"
	"sync/atomic"
)

const (
	segmentBytes = 8 << 10
	// mostMarks bounds the pieces of one segment: a program may write single bytes to stdout and stderr in turns.
	mostMarks = 128
	// shareMs is how long pieces of output are counted as one, in milliseconds.
	shareMs = 10
	// mostSegments is the memory of all rings, besides one segment of each.
	mostSegments = (16 << 20) / segmentBytes
)

// segmentsInUse counts the segments of all rings but the first of each.
var segmentsInUse atomic.Int64

// noReader is the position of the slowest reader if the ring need not wait for any.
const noReader = math.MaxInt64

// mark is where a piece of output begins in its segment.
type mark struct {
	at   uint16
	kind frameType
	time int64
}

type segment struct {
	begin int64
	n     int
	bytes [segmentBytes]byte
	marks []mark
}

// ring keeps the end of a program's output, in segments that it takes as they are filled. Offsets count the program's
// output from its beginning. The caller locks.
type ring struct {
	most     int // Segments.
	segments []*segment
	end      int64
}

func newRing(bytes int) *ring { return &ring{most: max(1, bytes/segmentBytes)} }

// begin is the offset of the first byte that the ring has.
func (r *ring) begin() int64 {
	if len(r.segments) == 0 {
		return r.end
	}
	return r.segments[0].begin
}

// reserve makes room for output, but discards no bytes from the offset slowest on; false if that is impossible now.
func (r *ring) reserve(slowest int64) bool {
	count := len(r.segments)
	if count > 0 {
		if last := r.segments[count-1]; last.n < segmentBytes && len(last.marks) < mostMarks {
			return true
		}
	}
	fresh := &segment{}
	if count > 0 && (count >= r.most || segmentsInUse.Add(1) > mostSegments) {
		if count < r.most {
			segmentsInUse.Add(-1)
		}
		if r.segments[0].begin+int64(r.segments[0].n) > slowest {
			return false
		}
		fresh = r.segments[0]
		copy(r.segments, r.segments[1:])
		r.segments = r.segments[:count-1]
	}
	fresh.begin, fresh.n, fresh.marks = r.end, 0, fresh.marks[:0]
	r.segments = append(r.segments, fresh)
	return true
}

// fill lets read put bytes into the room that reserve has made, and returns its result, and whether the room is full.
func (r *ring) fill(kind frameType, now int64, read func([]byte) (int, error)) (n int, isFull bool, err error) {
	last := r.segments[len(r.segments)-1]
	n, err = read(last.bytes[last.n:])
	if n <= 0 {
		return n, false, err
	}
	count := len(last.marks)
	if count == 0 || last.marks[count-1].kind != kind || now-last.marks[count-1].time > shareMs {
		last.marks = append(last.marks, mark{at: uint16(last.n), kind: kind, time: now})
	}
	last.n += n
	r.end += int64(n)
	return n, last.n == segmentBytes, err
}

// read copies the first bytes from an offset on that have one kind and time. The result's offset is greater than the
// one that was asked for if the ring has lost the bytes between.
func (r *ring) read(offset int64, into []byte) (n int, at int64, kind frameType, time int64) {
	offset = max(offset, r.begin())
	for _, each := range r.segments {
		within := offset - each.begin
		if within >= int64(each.n) {
			continue
		}
		end := each.n
		for i := len(each.marks) - 1; i >= 0; i-- {
			if m := each.marks[i]; int64(m.at) <= within {
				return copy(into, each.bytes[within:end]), offset, m.kind, m.time
			} else {
				end = int(m.at)
			}
		}
	}
	return 0, offset, 0, 0
}

// release gives the ring's memory back.
func (r *ring) release() {
	if count := len(r.segments); count > 1 {
		segmentsInUse.Add(int64(1 - count))
	}
	r.segments = nil
}
