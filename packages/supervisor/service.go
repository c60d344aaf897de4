package main

import (
	"os"
	"syscall"
	"time"
)

const (
	// servicePath is a program that an image may have, which runs as long as its sandboxes do.
	servicePath      = "/usr/local/lib/berth/service"
	servicePause     = time.Second
	servicePauseLast = time.Minute
)

// runService runs the image's service, if there is one, and again when it has ended: after a second, and after a pause
// that grows up to a minute if it ends sooner than that. The service is no program: clients neither see nor signal it,
// and its output is dropped.
func (sup *supervisor) runService() {
	for pause := servicePause; !sup.isEnding.Load(); pause = min(2*pause, servicePauseLast) {
		began := time.Now()
		ended, err := sup.startService()
		if err != nil {
			return
		}
		<-ended
		if time.Since(began) > servicePauseLast {
			pause = servicePause
		}
		time.Sleep(pause)
	}
}

// startService starts it as the sandbox's user, in the home directory. It fails if the image has none.
func (sup *supervisor) startService() (<-chan struct{}, error) {
	user, err := sup.users.find("")
	if err != nil {
		return nil, err
	}
	// No client can give a program this id.
	r := &request{ID: "service.", Argv: []string{servicePath}, Cwd: dataPath}
	l, err := sup.launchOf(r, user)
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attributes := &syscall.ProcAttr{Dir: l.cwd, Env: l.env, Files: []uintptr{null.Fd(), null.Fd(), null.Fd()},
		Sys: &syscall.SysProcAttr{
			Setsid:     true,
			Credential: &syscall.Credential{Uid: user.uid, Gid: user.gid, Groups: user.groups},
		}}
	sup.reapMu.Lock()
	defer sup.reapMu.Unlock()
	if sup.isEnding.Load() {
		return nil, notStarted("other", "the sandbox stops")
	}
	pid, err := syscall.ForkExec(l.file, r.Argv, attributes)
	if err != nil {
		return nil, startFailure(err)
	}
	sup.servicePID, sup.serviceEnded = pid, make(chan struct{})
	return sup.serviceEnded, nil
}
