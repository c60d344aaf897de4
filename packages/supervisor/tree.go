package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// sessionVariable is in the environment of each program and of its descendants; its value is the program's id.
	sessionVariable = "BERTH_SESSION"
	// mostEnviron is the most that is read of a process's environment: the kernel's limit of one variable.
	mostEnviron = 128 << 10
	// afterKill is how long processes may take to end after SIGKILL.
	afterKill = 3 * time.Second
	// The end of processes is looked for so often, at first and at last.
	pollEnds, pollEndsLast = 5 * time.Millisecond, 100 * time.Millisecond
)

// tree is a program with its descendants, also those that have left its session or lost their parents.
type tree struct {
	id     string
	user   identity
	leader int // 0 if it has ended.
}

// process is what /proc says of a process.
type process struct {
	pid, parent, session int
	name                 string
	isZombie             bool
}

// processes lists all processes but this one and the first.
func processes() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	all := make([]process, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == 1 || pid == os.Getpid() {
			continue
		}
		text, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue
		}
		if p, ok := parseStat(pid, string(text)); ok {
			all = append(all, p)
		}
	}
	return all
}

// parseStat reads /proc/PID/stat. The name, in parentheses, may be anything.
func parseStat(pid int, text string) (process, bool) {
	begin, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if begin < 0 || end < begin {
		return process{}, false
	}
	fields := strings.Fields(text[end+1:])
	if len(fields) < 4 {
		return process{}, false
	}
	p := process{pid: pid, name: text[begin+1 : end], isZombie: fields[0] == "Z" || fields[0] == "X"}
	p.parent, _ = strconv.Atoi(fields[1])
	p.session, _ = strconv.Atoi(fields[3])
	return p, true
}

// finding is held by the one that looks for a tree: a look takes some memory.
var finding sync.Mutex

// find lists the tree's live processes.
func (t tree) find() []process {
	finding.Lock()
	defer finding.Unlock()
	all := processes()
	marked := map[int]bool{}
	variable := []byte(sessionVariable + "=" + t.id)
	buffer := make([]byte, mostEnviron)
	look := func() error {
		for _, p := range all {
			if !p.isZombie && !marked[p.pid] && hasVariable(p.pid, variable, buffer) {
				marked[p.pid] = true
			}
		}
		return nil
	}
	// Under runc, root may not read another user's environment.
	look()
	if t.user.uid != 0 {
		t.user.do(look)
	}
	return members(all, marked, t.leader)
}

// members adds to the marked processes those of the leader's session, and all descendants.
func members(all []process, marked map[int]bool, leader int) []process {
	for _, p := range all {
		if leader > 0 && (p.pid == leader || p.session == leader) {
			marked[p.pid] = true
		}
	}
	for more := true; more; {
		more = false
		for _, p := range all {
			if !marked[p.pid] && marked[p.parent] {
				marked[p.pid], more = true, true
			}
		}
	}
	found := []process{}
	for _, p := range all {
		if marked[p.pid] && !p.isZombie {
			found = append(found, p)
		}
	}
	return found
}

// hasVariable reports whether a process was started with the variable, NAME=VALUE.
func hasVariable(pid int, variable, buffer []byte) bool {
	fd, err := syscall.Open("/proc/"+strconv.Itoa(pid)+"/environ", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	n := 0
	for n < len(buffer) {
		got, err := syscall.Read(fd, buffer[n:])
		if got <= 0 || err != nil {
			break
		}
		n += got
	}
	return containsVariable(buffer[:n], variable)
}

func containsVariable(environ, variable []byte) bool {
	for each := range bytes.SplitSeq(environ, []byte{0}) {
		if bytes.Equal(each, variable) {
			return true
		}
	}
	return false
}

// endTree sends a signal to the tree, and SIGKILL after the grace; it reports whether all have ended.
func (sup *supervisor) endTree(t tree, first syscall.Signal, grace time.Duration) bool {
	for _, turn := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{first, grace}, {syscall.SIGKILL, afterKill / 2}, {syscall.SIGKILL, afterKill / 2}} {
		all := t.find()
		if len(all) == 0 {
			return true
		}
		for _, each := range all {
			syscall.Kill(each.pid, turn.signal)
		}
		if turn.signal != syscall.SIGKILL {
			for _, each := range all {
				syscall.Kill(each.pid, syscall.SIGCONT)
			}
		}
		until := time.Now().Add(turn.wait)
		for pause := pollEnds; time.Now().Before(until); pause = min(2*pause, pollEndsLast) {
			if t.leader != 0 && sup.hasEnded(t) {
				t.leader = 0
			}
			if len(t.find()) == 0 {
				return true
			}
			time.Sleep(pause)
		}
	}
	return len(t.find()) == 0
}

// hasEnded reports whether the tree's leader has been reaped, so that its pid may be another process's.
func (sup *supervisor) hasEnded(t tree) bool {
	sup.reapMu.Lock()
	defer sup.reapMu.Unlock()
	p := sup.byPID[t.leader]
	return p == nil || p.id != t.id
}
