package main

import (
	"errors"
	"os"
	"path"
	"strings"
	"syscall"
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
	var files plumbing
	defer files.closeTheirs()
	if err := files.open(r, p.user); err != nil {
		files.closeOurs()
		return err
	}
	if sup.isEnding.Load() {
		files.closeOurs()
		return notStarted("other", "the sandbox stops")
	}
	attributes := &syscall.ProcAttr{Dir: l.cwd, Env: l.env, Files: files.theirFds(), Sys: &syscall.SysProcAttr{
		Setsid:     true,
		Setctty:    r.TTY != nil,
		Credential: &syscall.Credential{Uid: p.user.uid, Gid: p.user.gid, Groups: p.user.groups},
	}}
	sup.startMu.Lock() // The reaper waits for one start at most, not for all that are queued.
	sup.reapMu.Lock()
	pid, err := syscall.ForkExec(l.file, r.Argv, attributes)
	if err == nil {
		p.mu.Lock()
		p.pid, p.started = pid, now()
		p.terminal, p.stdin = files.terminal, files.stdin
		for kind := range files.outputs {
			p.idle[kind] = false
		}
		p.mu.Unlock()
		sup.byPID[pid] = p
	}
	sup.reapMu.Unlock()
	sup.startMu.Unlock()
	if err != nil {
		files.closeOurs()
		return startFailure(err)
	}
	for kind, file := range files.outputs {
		go p.pump(file, kind)
	}
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

// plumbing is a program's input and output: their ends are the program's, ours the supervisor's.
type plumbing struct {
	theirs   []*os.File
	terminal *os.File
	stdin    *os.File
	outputs  map[frameType]*os.File
}

func (f *plumbing) open(r *request, user identity) error {
	f.outputs = map[frameType]*os.File{}
	if r.TTY != nil {
		master, slave, err := openTerminal(*r.TTY, user)
		if err != nil {
			return err
		}
		f.terminal, f.stdin, f.theirs = master, master, []*os.File{slave, slave, slave}
		f.outputs[frameStdout] = master
		return nil
	}
	if r.Stdin {
		reads, writes, err := pipe(user)
		if err != nil {
			return err
		}
		f.theirs, f.stdin = append(f.theirs, reads), writes
	} else {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return err
		}
		f.theirs = append(f.theirs, null)
	}
	for _, kind := range []frameType{frameStdout, frameStderr} {
		reads, writes, err := pipe(user)
		if err != nil {
			return err
		}
		f.theirs, f.outputs[kind] = append(f.theirs, writes), reads
	}
	return nil
}

// pipe opens a pipe that its user may open again, as /dev/stderr.
func pipe(user identity) (reads, writes *os.File, err error) {
	if reads, writes, err = os.Pipe(); err == nil {
		writes.Chown(int(user.uid), int(user.gid))
	}
	return reads, writes, err
}

// theirFds are what the program has as its input, output and errors. Fd makes a file block, as programs expect.
func (f *plumbing) theirFds() []uintptr {
	fds := make([]uintptr, 0, 3)
	for _, file := range f.theirs {
		fds = append(fds, file.Fd())
	}
	return fds
}

func (f *plumbing) closeTheirs() {
	for _, file := range f.theirs {
		file.Close()
	}
}

func (f *plumbing) closeOurs() {
	for _, file := range f.outputs {
		file.Close()
	}
	if f.stdin != nil {
		f.stdin.Close()
	}
}
