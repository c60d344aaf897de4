package main

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Bounds of programs.
const (
	mostPrograms  = 256
	mostEnded     = 64 // Kept programs that have ended.
	mostArguments = 128 << 10
	usualRing     = 64 << 10
	mostRing      = 1 << 20
	mostTimeout   = 7 * 24 * 3_600_000 // Milliseconds.
	abandonAfter  = 10 * time.Second
	abandonGrace  = 2 * time.Second
)

// program is one that a client has started, until its result is forgotten.
type program struct {
	id, owner, argv0 string
	user             identity
	kept             bool
	pid              int
	started          int64
	terminal         *os.File // The terminal's master; nil with pipes.
	stdin            *os.File // The terminal's master, or a pipe; nil without an input.
	outputs          map[frameType]*os.File
	pumps            sync.WaitGroup

	mu          sync.Mutex
	cond        *sync.Cond
	ring        ring
	readers     map[*reader]struct{}
	outputOver  bool
	abandonedAt int64
	abandoned   *time.Timer
	timeout     *time.Timer
	exit        *exitStatus
	ended       int64
	stopped     bool // It ended while the sandbox was being stopped.
}

// exitStatus is how a program has ended.
type exitStatus struct {
	Code   *int `json:"code,omitempty"`
	Signal int  `json:"signal,omitempty"`
}

// programEnd is the result of start and attach.
type programEnd struct {
	Exit    *exitStatus `json:"exit"`
	Offset  int64       `json:"offset"`
	Ended   int64       `json:"ended,omitempty"`
	Stopped bool        `json:"stopped,omitempty"`
}

// programs is the table of programs.
type programs struct {
	mu    sync.Mutex
	byID  map[string]*program
	ended []*program // Kept ones, in the order of their ends.
}

// add enters a program, unless there is no room for it or its id is in use.
func (ps *programs) add(p *program) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.byID[p.id] != nil {
		return fail("program_exists", "the id is in use")
	}
	if len(ps.byID)-len(ps.ended) >= mostPrograms {
		return tooMany("programs")
	}
	ps.byID[p.id] = p
	return nil
}

func (ps *programs) find(id string) (*program, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.byID[id]; p != nil && p.pid > 0 {
		return p, nil
	}
	return nil, fail("program_not_found", "no such program")
}

// remove forgets a program, and drops what it still writes.
func (ps *programs) remove(p *program) {
	ps.mu.Lock()
	if ps.byID[p.id] == p {
		delete(ps.byID, p.id)
	}
	ps.ended = slices.DeleteFunc(ps.ended, func(each *program) bool { return each == p })
	ps.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outputOver = true
	p.ring.release()
	p.cond.Broadcast()
}

// keep retains the result of a program, at the cost of the oldest if there are many.
func (ps *programs) keep(p *program) {
	ps.mu.Lock()
	if ps.byID[p.id] == p { // Not forgotten meanwhile.
		ps.ended = append(ps.ended, p)
	}
	surplus := slices.Clone(ps.ended[:max(0, len(ps.ended)-mostEnded)])
	ps.mu.Unlock()
	for _, oldest := range surplus {
		ps.remove(oldest)
	}
}

func (ps *programs) all() []*program {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	all := make([]*program, 0, len(ps.byID))
	for _, p := range ps.byID {
		if p.pid > 0 {
			all = append(all, p)
		}
	}
	return all
}

// start runs a program, and sends its output until its end.
func start(s *stream, r *request) (any, error) {
	if err := r.checkStart(); err != nil {
		return nil, err
	}
	sup := s.sup
	user, err := sup.users.find(r.User)
	if err != nil {
		return nil, err
	}
	launch, err := sup.launchOf(r, user)
	if err != nil {
		return nil, err
	}
	first := &reader{}
	p := &program{
		id: r.ID, owner: r.Owner, argv0: r.Argv[0], user: user, kept: r.Kept, ring: ring{most: r.Ring},
		readers: map[*reader]struct{}{first: {}}, outputs: map[frameType]*os.File{},
	}
	p.cond = sync.NewCond(&p.mu)
	if err := sup.programs.add(p); err != nil {
		return nil, err
	}
	if err := sup.launch(p, launch, r); err != nil {
		sup.programs.remove(p)
		return nil, err
	}
	p.endAfter(time.Duration(r.TimeoutMs) * time.Millisecond)
	s.whenCancelled(func() { p.leave(first) })
	s.tell(map[string]int64{"pid": int64(p.pid), "started": p.started})
	return p.serve(s, first, math.MaxInt64)
}

// endAfter kills the program and its descendants if it still runs then; 0 is never.
func (p *program) endAfter(timeout time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if timeout > 0 && p.exit == nil {
		p.timeout = time.AfterFunc(timeout, func() { tree{id: p.id, user: p.user, program: p}.end(syscall.SIGKILL, 0) })
	}
}

// checkStart refuses what start cannot accept, and sets defaults.
func (r *request) checkStart() error {
	bytes := 0
	for _, argument := range r.Argv {
		if bytes += len(argument) + 1; strings.IndexByte(argument, 0) >= 0 {
			return invalid("an argument has a NUL")
		}
	}
	for name, value := range r.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || value != nil && strings.IndexByte(*value, 0) >= 0 {
			return invalid("a variable is malformed")
		}
	}
	if r.Ring == 0 {
		r.Ring = usualRing
		if r.Kept {
			r.Ring = mostRing
		}
	}
	switch {
	case !isID(r.ID):
		return invalid("the id is malformed")
	case len(r.Argv) == 0 || len(r.Argv) > 4096 || bytes > mostArguments:
		return invalid("the arguments are none, or too many")
	case r.Argv[0] == "":
		return notStarted("not_found", "the program has no name")
	case len(r.Env) > 1024 || len(r.Owner) > 1024:
		return invalid("too many variables, or too long an owner")
	case r.TimeoutMs < 0 || r.TimeoutMs > mostTimeout:
		return invalid("the timeout is out of range")
	case r.Ring < leastRing || r.Ring > mostRing:
		return invalid("the ring is out of range")
	case r.TTY != nil && !r.TTY.isValid():
		return invalid("the terminal's size is out of range")
	case r.Cwd != "" && (r.Cwd[0] != '/' || len(r.Cwd) > 4096 || strings.IndexByte(r.Cwd, 0) >= 0):
		return invalid("the working directory is not absolute, or too long")
	}
	return nil
}

func isID(id string) bool {
	return len(id) > 0 && len(id) <= 64 && strings.IndexFunc(id, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}) < 0
}

// attach follows a program that runs, or has ended and is kept.
func attach(s *stream, r *request) (any, error) {
	p, err := s.sup.programs.find(r.ID)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	from, to := max(r.After, p.ring.begin), p.ring.end
	if r.After < 0 || r.After > to {
		p.mu.Unlock()
		return nil, invalid("the offset is beyond the output")
	}
	one := &reader{at: from, watch: r.Watch}
	p.readers[one] = struct{}{}
	if p.abandoned != nil {
		p.abandoned.Stop()
		p.abandoned = nil
	}
	p.mu.Unlock()
	s.whenCancelled(func() { p.leave(one) })
	s.tell(map[string]int64{"pid": int64(p.pid), "started": p.started, "from": from, "to": to})
	if r.Follow == nil || *r.Follow {
		to = math.MaxInt64
	}
	return p.serve(s, one, to)
}

// leave removes a reader, for which the others need not wait any more. A client that detaches and then asks for the
// programs does not find its own former reader.
func (p *program) leave(r *reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.readers, r)
	p.cond.Broadcast()
}

// serve sends output to a reader up to the offset to, and takes its input meanwhile.
func (p *program) serve(s *stream, r *reader, to int64) (any, error) {
	if s.takesData {
		go p.takeInput(s)
	}
	err := p.follow(s, r, to)
	p.leave(r)
	p.mu.Lock()
	result := programEnd{Offset: p.ring.end}
	isOver := p.outputOver && p.exit != nil
	if isOver {
		result.Exit, result.Ended, result.Stopped = p.exit, p.ended, p.stopped
	}
	isLast := len(p.readers) == 0 && !p.kept
	if isLast && (err != nil || !isOver) {
		p.abandonedAt = r.at
		p.abandoned = time.AfterFunc(abandonAfter, func() { s.sup.abandon(p) })
	}
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if isLast && isOver {
		s.sup.programs.remove(p)
	}
	return result, nil
}

// abandon ends an attached program that has had no reader for a while.
func (sup *supervisor) abandon(p *program) {
	p.mu.Lock()
	isAttached, hasEnded := len(p.readers) > 0, p.exit != nil
	p.mu.Unlock()
	if isAttached {
		return
	}
	if !hasEnded {
		tree{id: p.id, user: p.user, program: p}.end(syscall.SIGTERM, abandonGrace)
	}
	sup.programs.remove(p)
}

// takeInput writes a client's data to the program, until the stream ends. What the program does not read any more is
// dropped.
func (p *program) takeInput(s *stream) {
	defer context.AfterFunc(s.ctx, func() { p.stdin.SetWriteDeadline(time.Now()) })()
	err := s.receive(programCredit, func(data []byte) error {
		for len(data) > 0 && s.ctx.Err() == nil {
			n, err := p.stdin.Write(data)
			data = data[n:]
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			if err != nil && s.ctx.Err() == nil {
				p.stdin.SetWriteDeadline(time.Time{}) // It was the end of another stream.
			}
		}
		return nil
	})
	if err == nil && p.terminal == nil {
		p.stdin.Close()
	}
}

// exitOf is how a process has ended.
func exitOf(status syscall.WaitStatus) *exitStatus {
	if status.Signaled() {
		return &exitStatus{Signal: int(status.Signal())}
	}
	code := status.ExitStatus()
	return &exitStatus{Code: &code}
}

// settle waits for the output of a program that has ended, but not for that of its descendants.
func (p *program) settle() {
	for _, file := range p.outputs {
		file.SetReadDeadline(time.Now().Add(descendantsWait))
	}
	p.pumps.Wait()
	p.mu.Lock()
	p.outputOver = true
	p.cond.Broadcast()
	p.mu.Unlock()
}

// finish settles a program that has ended, and lets go of its input and output.
func (sup *supervisor) finish(p *program) {
	p.settle()
	p.stdin.Close()
	for _, file := range p.outputs {
		go drain(file)
	}
	if p.kept {
		sup.programs.keep(p)
	}
}

// leader is the program's pid while it cannot belong to another process; otherwise 0.
func (p *program) leader() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exit != nil {
		return 0
	}
	return p.pid
}

func signalProgram(s *stream, r *request) (any, error) {
	which, number, err := s.sup.treeOf(r)
	if err != nil {
		return nil, err
	}
	return map[string]int{"sent": sendSignals(which.find(), number)}, nil
}

func endProgram(s *stream, r *request) (any, error) {
	which, number, err := s.sup.treeOf(r)
	if err != nil {
		return nil, err
	}
	grace := 2000
	if r.GraceMs != nil {
		grace = *r.GraceMs
	}
	if grace < 0 || grace > 600_000 {
		return nil, invalid("the grace is out of range")
	}
	outcome := "still_running"
	if which.end(number, time.Duration(grace)*time.Millisecond) {
		outcome = "ended"
	}
	return map[string]string{"outcome": outcome}, nil
}

func descendants(s *stream, r *request) (any, error) {
	which, _, err := s.sup.treeOf(r)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, each := range which.find() {
		isOwn := which.program != nil && which.program.pid == each.pid
		if !isOwn && len(names) < 16 {
			names = append(names, strings.ToValidUTF8(each.name, "\ufffd"))
		}
	}
	return map[string][]string{"names": names}, nil
}

// signals are those that a client may send.
var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL,
	"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "TERM": syscall.SIGTERM, "CONT": syscall.SIGCONT,
	"STOP": syscall.SIGSTOP, "WINCH": syscall.SIGWINCH, "": syscall.SIGTERM,
}

// treeOf is the program that a request names, which may be in no table, and the signal for it.
func (sup *supervisor) treeOf(r *request) (tree, syscall.Signal, error) {
	number, known := signals[r.Signal]
	if !known || !isID(r.ID) {
		return tree{}, 0, invalid("no such signal, or a malformed id")
	}
	if p, err := sup.programs.find(r.ID); err == nil {
		return tree{id: p.id, user: p.user, program: p}, number, nil
	}
	user, err := sup.users.find(r.User)
	return tree{id: r.ID, user: user}, number, err
}

func resize(s *stream, r *request) (any, error) {
	p, err := s.sup.programs.find(r.ID)
	if err != nil {
		return nil, err
	}
	if p.terminal == nil || !r.size.isValid() {
		return nil, invalid("there is no terminal, or the size is out of range")
	}
	if err := setSize(p.terminal, r.size); err != nil && !errors.Is(err, os.ErrClosed) {
		return nil, err
	}
	return nil, nil
}

func listPrograms(s *stream, _ *request) (any, error) {
	out := rows{s: s}
	for _, p := range s.sup.programs.all() {
		p.mu.Lock()
		row := map[string]any{
			"id": p.id, "owner": p.owner, "argv0": p.argv0[:min(len(p.argv0), 1024)], "pid": p.pid,
			"started": p.started, "kept": p.kept, "tty": p.terminal != nil, "from": p.ring.begin, "to": p.ring.end,
			"readers": len(p.readers), "exit": p.exit, "ended": p.ended,
		}
		p.mu.Unlock()
		if err := out.add(row); err != nil {
			return nil, err
		}
	}
	return nil, out.flush()
}

func forget(s *stream, r *request) (any, error) {
	p, err := s.sup.programs.find(r.ID)
	if err != nil {
		return nil, err
	}
	if p.leader() != 0 {
		return nil, fail("program_running", "the program runs")
	}
	s.sup.programs.remove(p)
	return nil, nil
}
