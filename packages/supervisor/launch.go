package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"
	"unsafe"
)

const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// launch is all that a fork needs.
type launch struct {
	file string
	cwd  string
	env  []string
}

// launchOf resolves the program, its directory and its variables, as its user sees them.
func (sup *supervisor) launchOf(r *request, user identity) (launch, error) {
	l := launch{cwd: r.Cwd}
	if l.cwd == "" {
		l.cwd = sup.cwd
	}
	variables := map[string]string{"PATH": usualPath, "HOME": user.home}
	if r.TTY != nil {
		variables["TERM"] = "xterm"
	}
	for _, each := range sup.env {
		name, value, _ := strings.Cut(each, "=")
		variables[name] = value
	}
	for name, value := range r.Env {
		if value == nil {
			delete(variables, name)
		} else {
			variables[name] = *value
		}
	}
	variables[sessionVariable] = r.ID
	for name, value := range variables {
		l.env = append(l.env, name+"="+value)
	}
	err := user.do(func() (err error) {
		var st syscall.Stat_t
		if err := syscall.Stat(l.cwd+"/.", &st); err != nil {
			return notStarted("no_directory", err.Error())
		}
		l.file, err = findProgram(r.Argv[0], l.cwd, variables["PATH"])
		return err
	})
	return l, err
}

// findProgram looks a program up in PATH as exec does.
func findProgram(name, cwd, search string) (string, error) {
	places := []string{name}
	if !strings.Contains(name, "/") {
		places = nil
		for dir := range strings.SplitSeq(search, ":") {
			places = append(places, path.Join(dir, name))
		}
	}
	reason := "not_found"
	for _, place := range places {
		if place == "" || place[0] != '/' {
			place = cwd + "/" + place
		}
		var st syscall.Stat_t
		err := syscall.Stat(place, &st)
		switch {
		case err == nil && st.Mode&syscall.S_IFMT == syscall.S_IFREG && st.Mode&0o111 != 0:
			return place, nil
		case err == nil || errors.Is(err, syscall.EACCES):
			reason = "not_executable"
		}
	}
	return "", notStarted(reason, "no such program")
}

// launch starts the program's process and its pumps.
func (sup *supervisor) launch(p *program, l launch, r *request) error {
	theirs, err := p.plumb(r)
	defer closeAll(theirs)
	if err == nil && sup.isEnding.Load() {
		err = notStarted("other", "the sandbox stops")
	}
	if err == nil {
		err = sup.fork(p, l, r, theirs)
	}
	if err != nil {
		p.stdin.Close()
		for _, file := range p.outputs {
			file.Close()
		}
		return err
	}
	for kind, file := range p.outputs {
		go p.pump(file, kind)
	}
	return nil
}

func (sup *supervisor) fork(p *program, l launch, r *request, theirs []*os.File) error {
	attributes := &syscall.ProcAttr{Dir: l.cwd, Env: l.env, Sys: &syscall.SysProcAttr{
		Setsid:     true,
		Setctty:    p.terminal != nil,
		Credential: &syscall.Credential{Uid: p.user.uid, Gid: p.user.gid, Groups: p.user.groups},
	}}
	for _, file := range theirs {
		attributes.Files = append(attributes.Files, file.Fd()) // Fd makes it block, as programs expect.
	}
	p.pumps.Add(len(p.outputs))
	sup.startMu.Lock() // The reaper waits for one start at most, not for all that are queued.
	defer sup.startMu.Unlock()
	sup.reapMu.Lock()
	defer sup.reapMu.Unlock()
	pid, err := syscall.ForkExec(l.file, r.Argv, attributes)
	if err != nil {
		return startFailure(err)
	}
	sup.programs.mu.Lock()
	p.pid, p.started = pid, now()
	sup.programs.mu.Unlock()
	sup.byPID[pid] = p
	return nil
}

func startFailure(err error) error {
	switch {
	case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOMEM):
		return fail("sandbox_full", "%v", err)
	case errors.Is(err, syscall.ENOENT):
		return notStarted("not_found", err.Error())
	case errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOEXEC) || errors.Is(err, syscall.EPERM):
		return notStarted("not_executable", err.Error())
	}
	return notStarted("other", err.Error())
}

// plumb opens the program's input and output, and returns the ends that become the program's.
func (p *program) plumb(r *request) (theirs []*os.File, err error) {
	if r.TTY != nil {
		master, slave, err := openTerminal(*r.TTY, p.user)
		if err != nil {
			return nil, err
		}
		p.terminal, p.stdin, p.outputs[frameStdout] = master, master, master
		return []*os.File{slave, slave, slave}, nil
	}
	var reads, writes *os.File
	if r.Stdin {
		reads, p.stdin, err = pipe(p.user)
	} else {
		reads, err = os.Open(os.DevNull)
	}
	theirs = append(theirs, reads)
	for _, kind := range []frameType{frameStdout, frameStderr} {
		if err == nil {
			p.outputs[kind], writes, err = pipe(p.user)
			theirs = append(theirs, writes)
		}
	}
	return theirs, err
}

// pipe opens a pipe that its user may open again, as /dev/stderr.
func pipe(user identity) (reads, writes *os.File, err error) {
	if reads, writes, err = os.Pipe(); err == nil {
		writes.Chown(int(user.uid), int(user.gid))
	}
	return reads, writes, err
}

func closeAll(files []*os.File) {
	for _, file := range files {
		file.Close()
	}
}

// openTerminal opens a new terminal: the master for the supervisor, the slave for the user's program.
func openTerminal(z size, user identity) (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0); err != nil {
		return nil, nil, fmt.Errorf("cannot open a terminal: %w", err)
	}
	var locked, number int32
	err = errors.Join(
		ioctl(master, syscall.TIOCSPTLCK, unsafe.Pointer(&locked)),
		ioctl(master, syscall.TIOCGPTN, unsafe.Pointer(&number)),
		setSize(master, z),
	)
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	slave.Chown(int(user.uid), int(user.gid)) // So that the user can open it again, as /dev/stderr.
	return master, slave, nil
}

// setSize sets a terminal's size, of which its programs are told by SIGWINCH.
func setSize(terminal *os.File, z size) error {
	window := [4]uint16{uint16(z.Rows), uint16(z.Columns)}
	return ioctl(terminal, syscall.TIOCSWINSZ, unsafe.Pointer(&window))
}

// ioctl calls ioctl(2); unlike File.Fd, it leaves the file as it is.
func ioctl(file *os.File, call uintptr, argument unsafe.Pointer) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, call, uintptr(argument))
	})
	if errno != 0 {
		return fmt.Errorf("ioctl %#x: %w", call, errno)
	}
	return err
}
