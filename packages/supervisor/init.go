package main

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// dataPath is the mount point of the data volume, and the home directory.
	dataPath = "/home/user"
	// nameServersFile has name servers that replace those of the arguments, one a line.
	nameServersFile = "/var/lib/berth/name-servers"
	// mostHeap is where Go collects garbage more often; the bounds of all parts together are below it.
	mostHeap = 30 << 20
)

// supervisor is the state of the first process.
type supervisor struct {
	boot        string
	cwd         string
	env         []string
	users       users
	programs    programs
	connections sync.Map // Of *conn.
	streams     counter
	inputs      counter
	sockets     counter
	shared      counter    // Memory, in bytes.
	changes     sync.Mutex // Held from the last look at a file until it is replaced or removed.
	isEnding    atomic.Bool

	startMu sync.Mutex
	reapMu  sync.Mutex
	byPID   map[int]*program

	servicePID   int // Of the image's service while it runs; guarded by reapMu, like the channel of its end.
	serviceEnded chan struct{}
}

// hello is the supervisor's side of the handshake.
func (sup *supervisor) hello() any {
	return map[string]any{
		"protocol": protocolVersion,
		"version":  version,
		"boot":     sup.boot,
		"user":     sup.users.byDefault,
		"home":     []byte(dataPath),
		"limits":   map[string]int{"streams": mostStreams, "programs": mostPrograms},
	}
}

func newSupervisor(user string) *supervisor {
	boot := make([]byte, 16)
	rand.Read(boot)
	cwd, _ := os.Getwd()
	return &supervisor{
		boot:     hex.EncodeToString(boot),
		cwd:      cwd,
		env:      os.Environ(),
		users:    users{byDefault: user, passwd: "/etc/passwd", group: "/etc/group"},
		programs: programs{byID: map[string]*program{}},
		streams:  counter{most: mostStreams},
		inputs:   counter{most: mostInputs},
		sockets:  counter{most: mostConnections},
		shared:   counter{most: mostShared},
		byPID:    map[int]*program{},
	}
}

// runInit is the first process's work: the name servers, the home's owner, clients, orphans, and the end at SIGTERM.
func runInit(args []string) {
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(mostHeap)
	// Go's runtime handles all signals, so those that are not taken here would end even the first process.
	received := make(chan os.Signal, 16)
	signal.Notify(received, syscall.SIGTERM, syscall.SIGCHLD, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT,
		syscall.SIGPIPE, syscall.SIGABRT)
	const setDumpable = 4
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setDumpable, 0, 0); errno != 0 {
		fatal("cannot hide this process's memory from users", errno)
	}
	// The data of another sandbox is copied into the home, with its owner.
	keepsHome := len(args) > 0 && args[0] == "-keep-home"
	if keepsHome {
		args = args[1:]
	}
	var user string
	if len(args) > 0 {
		user, args = args[0], args[1:]
	}
	sup := newSupervisor(user)
	setNameServers(args)
	if !keepsHome {
		sup.ownHome()
	}
	listener, err := listen()
	if err != nil {
		fatal("cannot listen", err)
	}
	go sup.accept(listener)
	go sup.runService()
	for each := range received {
		switch each {
		case syscall.SIGCHLD:
			sup.reap()
		case syscall.SIGTERM:
			if !sup.isEnding.Swap(true) {
				go sup.shutDown()
			}
		}
	}
}

// setNameServers writes the name servers of the file, or else of the arguments, for the programs of the sandbox.
func setNameServers(servers []string) {
	// Opening waits for nothing, whatever a program has put in the files' places.
	if file, err := os.OpenFile(nameServersFile, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
		text, _ := io.ReadAll(io.LimitReader(file, mostWords))
		servers = strings.Fields(string(text))
		file.Close()
	}
	text := ""
	for _, server := range servers {
		if _, err := netip.ParseAddr(server); err == nil {
			text += "nameserver " + server + "\n"
		}
	}
	if text == "" {
		return
	}
	// Not replaced by another file: Docker mounts this one.
	const flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC | syscall.O_NONBLOCK
	if file, err := os.OpenFile("/etc/resolv.conf", flags, 0o644); err == nil {
		file.WriteString(text)
		file.Close()
	}
}

// ownHome gives the home directory, which Docker makes for root, to the sandbox's user.
func (sup *supervisor) ownHome() {
	info, err := os.Lstat(dataPath)
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		return
	}
	if user, err := sup.users.find(""); err == nil {
		os.Lchown(dataPath, int(user.uid), int(user.gid))
	}
}

// accept serves clients.
func (sup *supervisor) accept(listener *net.UnixListener) {
	for {
		socket, err := listener.AcceptUnix()
		if err != nil {
			time.Sleep(100 * time.Millisecond) // No descriptors: there may be some later.
			continue
		}
		go func() {
			defer socket.Close()
			if !sup.sockets.add(1) {
				socket.Write([]byte("too many connections\n"))
				return
			}
			defer sup.sockets.release(1)
			if b, err := receiveBridge(socket); err == nil {
				sup.serve(b)
				debug.FreeOSMemory()
			}
		}()
	}
}

// reap takes the exit codes of all processes that have ended, programs and orphans.
func (sup *supervisor) reap() {
	sup.reapMu.Lock()
	defer sup.reapMu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if pid <= 0 {
			return
		}
		if pid == sup.servicePID {
			sup.servicePID = 0
			close(sup.serviceEnded)
		}
		if p := sup.byPID[pid]; p != nil {
			delete(sup.byPID, pid)
			p.mu.Lock()
			p.exit, p.ended, p.stopped = exitOf(status), now(), sup.isEnding.Load()
			if p.timeout != nil {
				p.timeout.Stop()
			}
			p.mu.Unlock()
			go sup.finish(p)
		}
	}
}

// shutDown sends SIGTERM to all processes, and exits once they have ended; Docker kills the rest after the grace
// period. The shells of terminals ignore SIGTERM, so they get SIGHUP. Suspended processes do not see it before SIGCONT.
func (sup *supervisor) shutDown() {
	syscall.Kill(-1, syscall.SIGTERM)
	for _, p := range sup.programs.all() {
		if pid := p.leader(); pid != 0 && p.terminal != nil {
			syscall.Kill(pid, syscall.SIGHUP)
		}
	}
	syscall.Kill(-1, syscall.SIGCONT)
	for pause := pollEnds; hasProcesses(); pause = min(2*pause, pollEndsLast) {
		time.Sleep(pause)
	}
	sup.connections.Range(func(c, _ any) bool {
		c.(*conn).bye("shutting_down", "the sandbox stops")
		return true
	})
	os.Exit(0)
}

// hasProcesses reports whether anything runs but this process, the first one, and clients' bridges. A program that
// looks like a bridge is not awaited, which is its own harm.
func hasProcesses() bool {
	return slices.ContainsFunc(processes(), func(p process) bool {
		command, _ := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/cmdline")
		return !p.isZombie && string(command) != os.Args[0]+"\x00connect\x00"
	})
}
