package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestFramesAreReadWithinTheirBounds(t *testing.T) {
	good := appendFrame(nil, frameData, 7, []byte("ab"), []byte("c"))
	f, err := readFrame(bytes.NewReader(good))
	if err != nil || f.kind != frameData || f.stream != 7 || string(f.payload) != "abc" {
		t.Error(f, err)
	}
	for cut := range len(good) {
		if _, err := readFrame(bytes.NewReader(good[:cut])); err == nil || errors.Is(err, badFrame) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	for name, bad := range map[string][]byte{
		"unknown type":     appendFrame(nil, 0x42, 1),
		"of the other":     appendFrame(nil, frameDone, 1),
		"short credit":     appendFrame(nil, frameCredit, 1, []byte{1}),
		"end with bytes":   appendFrame(nil, frameEnd, 1, []byte{1}),
		"stream of ping":   appendFrame(nil, framePing, 1),
		"data of stream 0": appendFrame(nil, frameData, 0),
		"lying length":     {0x7f, 0, 0, 0, 0, 0, 0, 1, byte(frameOpen)},
	} {
		if _, err := readFrame(bytes.NewReader(bad)); err != badFrame {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// put writes text into a ring, and reports whether all of it had room.
func put(r *ring, kind frameType, now int64, slowest int64, text string) bool {
	for len(text) > 0 {
		n := copy(r.room(slowest), text)
		if n == 0 {
			return false
		}
		r.filled(n, kind, now)
		text = text[n:]
	}
	return true
}

func TestRing(t *testing.T) {
	r := &ring{most: 2 * leastRing}
	defer r.release()
	into := make([]byte, mostData)
	put(r, frameStdout, 1000, noReader, "one")
	put(r, frameStdout, 1000+shareMs, noReader, "two")
	put(r, frameStderr, 1010, noReader, "err")
	put(r, frameStderr, 5000, noReader, "late")
	type piece struct {
		text string
		at   int64
		kind frameType
		time int64
	}
	var pieces []piece
	for at := int64(0); at < r.end; {
		n, from, kind, time := r.read(at, into)
		pieces = append(pieces, piece{string(into[:n]), from, kind, time})
		at = from + int64(n)
	}
	want := []piece{{"onetwo", 0, frameStdout, 1000}, {"err", 6, frameStderr, 1010}, {"late", 9, frameStderr, 5000}}
	if !reflect.DeepEqual(pieces, want) {
		t.Errorf("%v", pieces)
	}
	if n, at, _, _ := r.read(4, into[:1]); n != 1 || at != 4 || into[0] != 'w' {
		t.Error(n, at)
	}
	// A reader that must not lose bytes holds the ring; without it, the oldest are lost.
	if put(r, frameStdout, 6000, 0, strings.Repeat("x", 3*leastRing)) {
		t.Error("bytes were lost that a reader needs")
	}
	if r.begin != 0 || r.end != 2*leastRing {
		t.Error(r.begin, r.end)
	}
	if !put(r, frameStdout, 6000, noReader, strings.Repeat("y", 3*leastRing)) || r.begin != r.end-2*leastRing {
		t.Error("the ring does not go on")
	}
	if n, at, _, _ := r.read(0, into); at != r.begin || n != 2*leastRing {
		t.Error(n, at)
	}
}

func TestRingKeepsTheLastBytesInOrder(t *testing.T) {
	r := &ring{most: mostData}
	defer r.release()
	var all strings.Builder
	read := int64(0)
	into := make([]byte, mostData)
	for i := range 30_000 {
		text := fmt.Sprintf("%d,", i)[:1+i%6%len(fmt.Sprint(i))]
		if !put(r, []frameType{frameStdout, frameStderr}[i/700%2], int64(i/300), read, text) {
			t.Fatal("no room")
		}
		all.WriteString(text)
		if r.end-read > 50_000 {
			n, at, _, _ := r.read(read, into)
			if got := string(into[:n]); at != read || got != all.String()[read:read+int64(n)] {
				t.Fatalf("%d bytes at %d instead of %d", n, at, read)
			}
			read += int64(n)
		}
	}
	if kept := int(r.end - r.begin); kept != mostData || r.end != int64(all.Len()) {
		t.Error(kept, r.end)
	}
}

func TestRingsShareTheirMemory(t *testing.T) {
	before := ringMemory.n.Load()
	var rings []*ring
	for range 32 {
		r := &ring{most: mostRing}
		rings = append(rings, r)
		put(r, frameStdout, 1, noReader, strings.Repeat("x", mostRing))
	}
	if ringMemory.n.Load() > mostRings {
		t.Errorf("%d bytes", ringMemory.n.Load())
	}
	if last := rings[31]; last.end != mostRing || last.end-last.begin > 16*leastRing {
		t.Errorf("%d to %d", last.begin, last.end)
	}
	for _, r := range rings {
		r.release()
	}
	if ringMemory.n.Load() != before {
		t.Errorf("%d bytes are left", ringMemory.n.Load())
	}
}

func TestRingOfSingleBytesIsBounded(t *testing.T) {
	r := &ring{most: usualRing}
	defer r.release()
	for i := range 100_000 {
		put(r, []frameType{frameStdout, frameStderr}[i%2], int64(i), noReader, "x")
	}
	if len(r.marks) > usualRing/bytesPerMark+1 || cap(r.marks) > 4*usualRing/bytesPerMark {
		t.Errorf("%d marks", len(r.marks))
	}
	for i := range 100_000 {
		if !put(r, []frameType{frameStdout, frameStderr}[i%2], int64(i), 100_000, "x") {
			if i < usualRing/bytesPerMark/2 {
				t.Error("too few pieces", i)
			}
			break
		}
	}
}

// discard is a connection whose client reads everything.
type discard struct {
	socket
	bytes.Buffer
}

func (d *discard) Write(data []byte) (int, error)   { return d.Buffer.Write(data) }
func (d *discard) Read(to []byte) (int, error)      { return d.Buffer.Read(to) }
func (d *discard) SetWriteDeadline(time.Time) error { return nil }
func (d *discard) Close() error                     { return nil }

// quiet is a connection whose client says HELLO, and answers so many PINGs. All of its times are over at once.
type quiet struct {
	socket
	hello    *bytes.Reader
	answers  int
	isStuck  bool // Nothing is read.
	doubts   int  // How many other clients connect while it is asked.
	doubt    func()
	pings    chan struct{}
	deadline chan struct{} // Of writing.
	closed   chan struct{}
	once     sync.Once
	within   []time.Duration
}

func (q *quiet) Write(data []byte) (int, error) {
	if q.isStuck {
		<-q.deadline
		return 0, os.ErrDeadlineExceeded
	}
	for range bytes.Count(data, appendFrame(nil, framePing, 0)) {
		q.pings <- struct{}{}
	}
	return len(data), nil
}

func (q *quiet) Read(to []byte) (int, error) {
	if q.hello.Len() > 0 {
		return q.hello.Read(to)
	}
	if q.isStuck || q.within[len(q.within)-1] > answerWithin {
		return 0, os.ErrDeadlineExceeded
	}
	if q.doubts > 0 {
		q.doubts--
		q.doubt()
		return 0, os.ErrDeadlineExceeded
	}
	<-q.pings
	if q.answers == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	q.answers--
	return copy(to, appendFrame(nil, framePong, 0)), nil
}

func (q *quiet) SetReadDeadline(at time.Time) error {
	q.within = append(q.within, time.Until(at).Round(time.Second))
	return nil
}

func (q *quiet) SetWriteDeadline(time.Time) error {
	q.once.Do(func() { close(q.deadline) })
	return nil
}

func (q *quiet) Close() error {
	close(q.closed)
	return nil
}

func TestAClientThatDoesNotAnswerIsGivenUp(t *testing.T) {
	asked := []time.Duration{answerWithin, answerWithin}
	for _, of := range []struct {
		name    string
		answers int
		isStuck bool
		doubts  int
		within  []time.Duration
	}{
		{"never", 0, false, 0, append([]time.Duration{helloWithin, silentAfter}, asked...)},
		{"no more", 2, false, 0, append([]time.Duration{
			helloWithin, silentAfter, answerWithin, silentAfter, answerWithin, silentAfter,
		}, asked...)},
		{"nor reads", 0, true, 0, append([]time.Duration{helloWithin, silentAfter}, asked...)},
		{"while others connect", 0, false, 3, append([]time.Duration{
			helloWithin, silentAfter, answerWithin, 0, answerWithin, 0, answerWithin, 0,
		}, asked...)},
	} {
		q := &quiet{
			hello:    bytes.NewReader(appendFrame(nil, frameHello, 0, []byte(`{"protocol":1}`))),
			answers:  of.answers,
			isStuck:  of.isStuck,
			pings:    make(chan struct{}, 1),
			deadline: make(chan struct{}),
			closed:   make(chan struct{}),
		}
		sup := newSupervisor("")
		q.doubts, q.doubt = of.doubts, sup.doubtConnections
		sup.serve(q)
		select {
		case <-q.closed:
		default:
			t.Errorf("%s: it is open", of.name)
		}
		if !reflect.DeepEqual(q.within, of.within) {
			t.Errorf("%s: %v", of.name, q.within)
		}
	}
}

func TestNothingFollowsTheEndOfAStream(t *testing.T) {
	sent := &discard{}
	s := newStream(newConn(newSupervisor(""), sent), 1, true)
	s.grow(10)
	s.close(nil, nil)
	s.give(10)
	s.grow(10)
	s.tell("late")
	if _, err := s.Write([]byte("late")); err == nil {
		t.Error("written after the end")
	}
	s.c.close()
	var kinds []frameType
	for f, err := readServerFrame(sent); err == nil; f, err = readServerFrame(sent) {
		kinds = append(kinds, f.kind)
	}
	if !slices.Equal(kinds, []frameType{frameCredit, frameDone}) {
		t.Errorf("%#x", kinds)
	}
	if left := s.sup.shared.n.Load(); left != 0 {
		t.Errorf("%d bytes are taken", left)
	}
}

func TestAForgottenProgramIsNotKept(t *testing.T) {
	ps := programs{byID: map[string]*program{}}
	p := &program{id: "x", kept: true, ring: ring{most: usualRing}}
	p.cond = sync.NewCond(&p.mu)
	ps.add(p)
	ps.remove(p) // By a client, before the program's output has ended.
	if ps.keep(p); len(ps.ended) != 0 {
		t.Error("it is listed")
	}
}

func TestOutputWithoutEndIsNotAwaited(t *testing.T) {
	reads, writes, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	const size = 1 << 20
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, writes.Fd(), syscall.F_SETPIPE_SZ, size); errno != 0 {
		t.Skip(errno)
	}
	writes.Write(make([]byte, size)) // A descendant is faster than the client.
	slow := &reader{}
	p := &program{readers: map[*reader]struct{}{slow: {}}, ring: ring{most: usualRing}}
	p.outputs = map[frameType]*os.File{frameStdout: reads}
	p.cond = sync.NewCond(&p.mu)
	p.pumps.Add(1)
	go p.pump(reads, frameStdout)
	time.AfterFunc(2*descendantsWait, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		slow.at = noReader // Now it takes everything.
		p.cond.Broadcast()
	})
	p.settle()
	if p.ring.end > mostBehind+2*mostAfter {
		t.Errorf("%d bytes were awaited", p.ring.end)
	}
}

func TestCredit(t *testing.T) {
	s := newStream(newConn(newSupervisor(""), &discard{}), 1, true)
	if err := s.accept(make([]byte, creditToSupervisor)); err != nil {
		t.Error(err)
	}
	if err := s.accept([]byte("x")); err != overCredit {
		t.Error(err)
	}
	s.take()
	go s.take()
	for s.accept(make([]byte, creditToSupervisor)) != nil {
		runtime.Gosched() // Until the second take gives back what the first has returned.
	}
	sent := 0
	err := s.sendData(1, func(room []byte) (frameType, int, error) {
		sent = len(room)
		return frameData, sent, nil
	})
	if sent != mostData || err != nil || s.credit != creditToClient-mostData {
		t.Error(sent, s.credit, err)
	}
	s.credit = 5
	if n, err := s.Write([]byte("five!")); n != 5 || err != nil || s.credit != 0 {
		t.Error(n, err, s.credit)
	}
	if s.addCredit(1<<31-1) != nil || s.addCredit(1) != overCredit {
		t.Error("credit is not bounded")
	}
	s.interrupt()
	if err := s.sendData(1<<30, nil); err == nil {
		t.Error("waits after its end")
	}
}

const passwd = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nuser:x:1000:1000::/home/user:/bin/sh\nhuge:x:4294967295:0::/:/bin/sh\nodd:x:1001:x::/:/bin/sh\n"
const groups = "root:x:0:\nstaff:x:50:root,user\nuser:x:1000:\nwheel:x:10:other,user\n"

func TestUsers(t *testing.T) {
	for spec, want := range map[string]identity{
		"root":       {0, 0, []uint32{50}, "/root"},
		"user":       {1000, 1000, []uint32{50, 10}, "/home/user"},
		"1000":       {1000, 1000, []uint32{50, 10}, "/home/user"},
		"1234":       {1234, 0, nil, "/"},
		"user:staff": {1000, 50, nil, "/home/user"},
		"1234:77":    {1234, 77, nil, "/"},
	} {
		if user, err := parseUser(spec, passwd, groups); err != nil || !reflect.DeepEqual(user, want) {
			t.Errorf("%s: %v %v", spec, user, err)
		}
	}
	for _, spec := range []string{"nobody", "-1", "4294967295", "2147483648", "user:nogroup", "huge", "odd", ":", "user:-1"} {
		if user, err := parseUser(spec, passwd, groups); err == nil {
			t.Errorf("%s: %v", spec, user)
		}
	}
}

func TestMembersOfATree(t *testing.T) {
	all := []process{
		{pid: 10, parent: 1, session: 10}, {pid: 11, parent: 10, session: 10}, {pid: 12, parent: 1, session: 10},
		{pid: 20, parent: 12, session: 20}, {pid: 21, parent: 20, session: 20, isZombie: true}, {pid: 30, parent: 1, session: 30},
		{pid: 31, parent: 30, session: 30}, {pid: 40, parent: 1, session: 40},
	}
	pids := func(found []process) (pids []int) {
		for _, p := range found {
			pids = append(pids, p.pid)
		}
		return pids
	}
	if found := pids(members(all, map[int]bool{30: true}, 10)); !slices.Equal(found, []int{10, 11, 12, 20, 30, 31}) {
		t.Error(found)
	}
	if found := members(all, map[int]bool{}, 0); len(found) != 0 {
		t.Error(found)
	}
}

func TestProcFiles(t *testing.T) {
	p, ok := parseStat(7, "7 (a) b) Z (c)) S 3 4 5 0 -1 1 2")
	if !ok || p != (process{pid: 7, parent: 3, session: 5, name: "a) b) Z (c)"}) {
		t.Errorf("%+v", p)
	}
	if _, ok := parseStat(7, "7 (a"); ok {
		t.Error("a part is taken")
	}
	if !containsVariable([]byte("A=1\x00BERTH_SESSION=x\x00"), "BERTH_SESSION=x") ||
		containsVariable([]byte("A=BERTH_SESSION=x\x00BERTH_SESSION=xy\x00"), "BERTH_SESSION=x") {
		t.Error("a variable is mistaken")
	}
}

func TestNamesOfArchives(t *testing.T) {
	for name, want := range map[string]string{"./": "", "a//b/./c/": "a/b/c", "..a/b..": "..a/b..", "./-x": "-x"} {
		if got, err := localName(name); got != want || err != nil {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	for _, name := range []string{"/a", "..", "a/..", "./../a"} {
		if got, err := localName(name); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestListeningSockets(t *testing.T) {
	found := map[int]*portRow{}
	readSockets(strings.NewReader(`  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 123 1 0
   1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 124 1 0
   2: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 125 1 0
   3: 0000000000000000FFFF00000100007F:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 126 1 0
   4: ZZ:1F92 00000000:0000 0A 0:0 0:0 0 0 0 1 1 0
   5: 0100007F`), found)
	if len(found) != 2 || !slices.Equal(found[8080].Addresses, []string{"127.0.0.1", "::1"}) ||
		!slices.Equal(found[22].Addresses, []string{"127.0.0.1"}) {
		t.Errorf("%v", found)
	}
}

func TestErrorsOfTheKernel(t *testing.T) {
	for errno, code := range map[syscall.Errno]string{
		syscall.ENOENT: "path_not_found", syscall.EDQUOT: "no_space", syscall.EROFS: "path_denied", syscall.EIO: "failed",
	} {
		if f := failureOf(errors.Join(errno)); f.Code != code {
			t.Errorf("%v: %s", errno, f.Code)
		}
	}
	if f := failureOf(fail("x", "%s", strings.Repeat("m", 9000))); len(f.Message) > 1024 {
		t.Error("a long message")
	}
}
