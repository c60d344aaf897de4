package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

const (
	// mostAccounts is the most that is read of /etc/passwd and /etc/group, in bytes.
	mostAccounts = 1 << 20
	// mostUsers is how many users are remembered.
	mostUsers = 64
	// mostUserThreads is how many operations work with a user's rights at once: each has a thread meanwhile.
	mostUserThreads = 32
	// highestID is the highest id of a user or a group that runc accepts.
	highestID = 1<<31 - 1
)

// identity is a user's ids, and the home directory that /etc/passwd names.
type identity struct {
	uid, gid uint32
	groups   []uint32
	home     string
}

var userThreads = make(chan struct{}, mostUserThreads)

// do runs work with the user's rights. work must not wait for anything but the kernel.
func (u identity) do(work func() error) error {
	userThreads <- struct{}{}
	defer func() { <-userThreads }()
	return u.as(work)
}

// as runs work on a thread whose effective ids are the user's. The real and saved ids stay root's, so the user can
// neither signal nor trace the thread.
func (u identity) as(work func() error) error {
	if u.uid == 0 && u.gid == 0 {
		return work()
	}
	runtime.LockOSThread()
	// The calls of package syscall would set the ids of all threads.
	groups := append([]uint32{u.gid}, u.groups...)
	failed := setGroups(groups) | setID(syscall.SYS_SETRESGID, u.gid) | setID(syscall.SYS_SETRESUID, u.uid)
	err := error(failed)
	if failed == 0 {
		err = work()
	}
	if back := setID(syscall.SYS_SETRESUID, 0) | setID(syscall.SYS_SETRESGID, 0) | setGroups([]uint32{0}); back != 0 {
		fatal("cannot give a user's rights back", back)
	}
	runtime.UnlockOSThread()
	return err
}

func setGroups(groups []uint32) syscall.Errno {
	_, _, errno := syscall.RawSyscall(syscall.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0)
	return errno
}

// setID sets this thread's effective id.
func setID(call uintptr, id uint32) syscall.Errno {
	const unchanged = ^uintptr(0)
	_, _, errno := syscall.RawSyscall(call, unchanged, uintptr(id), unchanged)
	return errno
}

// users looks users up in /etc/passwd and /etc/group, and remembers them until a file changes.
type users struct {
	byDefault  string
	passwd     string
	group      string
	mu         sync.Mutex
	version    string
	remembered map[string]identity
}

// find looks a user up: NAME or UID, with :GROUP or without; by default the sandbox's user.
func (us *users) find(spec string) (identity, error) {
	spec = cmp.Or(spec, us.byDefault, "0")
	if len(spec) > 256 {
		return identity{}, notStarted("no_user", "the user's name is too long")
	}
	us.mu.Lock()
	defer us.mu.Unlock()
	if version := versionOf(us.passwd) + " " + versionOf(us.group); version != us.version ||
		len(us.remembered) >= mostUsers {
		us.version, us.remembered = version, map[string]identity{}
	}
	if known, found := us.remembered[spec]; found {
		return known, nil
	}
	passwd, err := readAccounts(us.passwd)
	group, err2 := readAccounts(us.group)
	if err := errors.Join(err, err2); err != nil {
		return identity{}, notStarted("no_user", err.Error())
	}
	user, err := parseUser(spec, passwd, group)
	if err == nil {
		us.remembered[spec] = user
	}
	return user, err
}

func versionOf(path string) string {
	var st syscall.Stat_t
	if syscall.Stat(path, &st) != nil {
		return "none"
	}
	return fmt.Sprint(st.Ino, st.Size, st.Mtim, st.Ctim)
}

// readAccounts reads a file that programs may have replaced by anything; a missing one is empty.
func readAccounts(path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if os.IsNotExist(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no file", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, mostAccounts+1))
	if err == nil && len(text) > mostAccounts {
		err = fmt.Errorf("%s is larger than %d bytes", path, mostAccounts)
	}
	return string(text), err
}

// records are the lines of a file of accounts with at least so many fields.
func records(text string, least int) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for line := range strings.SplitSeq(text, "\n") {
			if fields := strings.Split(line, ":"); len(fields) >= least && !yield(fields) {
				return
			}
		}
	}
}

// parseUser finds a user as Docker does: an explicit group replaces the user's groups.
func parseUser(spec, passwd, group string) (identity, error) {
	name, groupSpec, hasGroup := strings.Cut(spec, ":")
	uid, isNumber := parseID(name)
	user := identity{uid: uid, home: "/"}
	login := ""
	for fields := range records(passwd, 6) {
		itsID, isUser := parseID(fields[2])
		gid, isGroup := parseID(fields[3])
		if isUser && isGroup && (fields[0] == name || isNumber && itsID == uid) {
			login, user.uid, user.gid, user.home = fields[0], itsID, gid, fields[5]
			break
		}
	}
	if login == "" && !isNumber {
		return identity{}, notStarted("no_user", "no such user")
	}
	if hasGroup {
		for fields := range records(group, 3) {
			if fields[0] == groupSpec {
				groupSpec = fields[2]
				break
			}
		}
		gid, found := parseID(groupSpec)
		if !found {
			return identity{}, notStarted("no_user", "no such group")
		}
		user.gid = gid
		return user, nil
	}
	for fields := range records(group, 4) {
		gid, ok := parseID(fields[2])
		isMember := login != "" && slices.Contains(strings.Split(fields[3], ","), login)
		if ok && isMember && len(user.groups) < 256 {
			user.groups = append(user.groups, gid)
		}
	}
	return user, nil
}

func parseID(text string) (uint32, bool) {
	id, err := strconv.ParseUint(text, 10, 32)
	return uint32(id), err == nil && id <= highestID
}
