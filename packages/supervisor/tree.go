package main

import (
	"bytes"
	"io"
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
	id      string
	user    identity
	program *program // nil if it is in no table any more.
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
		text, _ := os.ReadFile("/proc/" + name + "/stat")
		if p, ok := parseStat(pid, string(text)); ok {
			all = append(all, p)
		}
	}
	return all
}

// parseStat reads /proc/PID/stat. The name, in parentheses, may be anything.
func parseStat(pid int, text string) (process, bool) {
	begin, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	fields := strings.Fields(text[end+1:])
	if begin < 0 || end < begin || len(fields) < 4 {
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
	buffer := make([]byte, mostEnviron)
	look := func() error {
		for _, p := range all {
			if !p.isZombie && !marked[p.pid] && hasVariable(p.pid, sessionVariable+"="+t.id, buffer) {
				marked[p.pid] = true
			}
		}
		return nil
	}
	look()
	if t.user.uid != 0 { // Under runc, root may not read another user's environment.
		t.user.do(look)
	}
	leader := 0
	if t.program != nil {
		leader = t.program.leader()
	}
	return members(all, marked, leader)
}

// members adds to the marked processes those of the leader's session, and all descendants.
func members(all []process, marked map[int]bool, leader int) (found []process) {
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
	for _, p := range all {
		if marked[p.pid] && !p.isZombie {
			found = append(found, p)
		}
	}
	return found
}

// hasVariable reports whether a process was started with the variable, NAME=VALUE.
func hasVariable(pid int, variable string, buffer []byte) bool {
	file, err := os.Open("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	defer file.Close()
	n, _ := io.ReadFull(file, buffer)
	return containsVariable(buffer[:n], variable)
}

func containsVariable(environ []byte, variable string) bool {
	for each := range bytes.SplitSeq(environ, []byte{0}) {
		if string(each) == variable {
			return true
		}
	}
	return false
}

// sendSignals sends signals to processes; it returns how many got the last one.
func sendSignals(all []process, numbers ...syscall.Signal) (sent int) {
	for _, number := range numbers {
		sent = 0
		for _, each := range all {
			if syscall.Kill(each.pid, number) == nil {
				sent++
			}
		}
	}
	return sent
}

// end sends a signal to the tree, and SIGKILL after the grace; it reports whether all have ended.
func (t tree) end(first syscall.Signal, grace time.Duration) bool {
	begin, all := time.Now(), t.find()
	sendSignals(all, first, syscall.SIGCONT)
	for pause := pollEnds; len(all) > 0; pause = min(2*pause, pollEndsLast) {
		since := time.Since(begin)
		if since > grace+afterKill {
			return false
		}
		if since >= grace {
			sendSignals(all, syscall.SIGKILL)
		}
		time.Sleep(pause)
		all = t.find()
	}
	return true
}
