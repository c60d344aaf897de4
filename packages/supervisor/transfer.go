package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The prefixes of unfinished files and directories.
const (
	uploadPrefix = ".berth-upload-"
	unpackPrefix = ".berth-unpacking-"
)

// After so long without a change, an unfinished file or directory is what a killed sandbox has left.
const (
	uploadLeftAfter = 15 * time.Minute
	unpackLeftAfter = 24 * time.Hour
)

const (
	mostPart  = 16 << 20
	mostSwept = 1024
)

// newName makes the name of an unfinished file: the prefix and 36 characters.
func newName(prefix string) string {
	random := make([]byte, 18)
	rand.Read(random)
	return prefix + hex.EncodeToString(random)
}

// swept has the directories that need no sweeping any more, by device and inode.
var swept = struct {
	sync.Mutex
	known map[[2]uint64]bool
}{known: map[[2]uint64]bool{}}

// sweep removes what killed sandboxes have left unfinished in a directory; once, as this one cleans up after itself.
func sweep(name string) {
	dir, err := openDirectory(name, 0)
	if err != nil {
		return
	}
	defer dir.Close()
	st, err := statAt(dir, ".")
	key := [2]uint64{uint64(st.Dev), st.Ino}
	swept.Lock()
	isKnown := swept.known[key]
	if len(swept.known) >= mostSwept {
		clear(swept.known)
	}
	swept.known[key] = true
	swept.Unlock()
	for err == nil && !isKnown {
		var names []string
		names, err = dir.Readdirnames(namesAtOnce)
		for _, name := range names {
			age := uploadLeftAfter
			if strings.HasPrefix(name, unpackPrefix) {
				age = unpackLeftAfter
			}
			if !isTemporary(name) {
				continue
			}
			if st, err := statAt(dir, name); err == nil && time.Since(time.Unix(st.Mtim.Unix())) > age {
				removeEntry(dir, dir, name, 0)
			}
		}
	}
}

// openAs opens a regular file with a user's rights.
func openAs(user identity, r *request, flags int) (file *os.File, st syscall.Stat_t, err error) {
	err = user.do(func() (err error) {
		file, st, err = openFile(string(r.Path), flags, 0o666)
		return err
	})
	return file, st, err
}

func readFile(s *stream, r *request, user identity) (any, error) {
	file, st, err := openAs(user, r, syscall.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	s.tell(map[string]attributes{"state": attributesOf(&st)})
	want := struct{ Offset, Length, Most int64 }{Length: st.Size}
	if st.Size == 0 || st.Size > min(r.Inline, mostData) {
		want.Length = 0
		if err := s.ask(&want); err != nil {
			return nil, err
		}
	}
	if want.Offset < 0 || want.Length < 0 || want.Most < 0 || want.Offset > math.MaxInt64-want.Length {
		return nil, invalid("the range is no range")
	}
	sent, err := s.sendFile(file, want.Offset, max(want.Length, want.Most))
	if err == nil && sent < want.Length {
		err = fail("failed", "the file has become shorter")
	}
	return nil, err
}

// sendFile sends at most length bytes of a file. It reads only what there is credit for.
func (s *stream) sendFile(file *os.File, offset, length int64) (sent int64, err error) {
	for sent < length {
		credit, err := s.spend(1, int(min(mostData, length-sent)))
		if err != nil {
			return sent, err
		}
		n := 0
		err = s.c.buffer(func(b []byte) (err error) {
			if n, err = file.ReadAt(b[:credit], offset+sent); n > 0 {
				s.send(frameData, b[:n])
			}
			return err
		})
		s.refund(credit - n)
		if sent += int64(n); err == io.EOF {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

func readPart(s *stream, r *request, user identity) (any, error) {
	if r.Length == nil || *r.Length < 0 || *r.Length > mostPart {
		return nil, invalid("the length is out of range")
	}
	file, _, err := openAs(user, r, syscall.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	_, err = s.sendFile(file, r.Offset, *r.Length)
	return nil, err
}

func writePart(s *stream, r *request, user identity) (any, error) {
	file, _, err := openAs(user, r, syscall.O_WRONLY|syscall.O_CREAT)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	offset := r.Offset
	err = s.receiveAll(func(data []byte) error {
		// With the user's rights: root's writing would leave the bits of set-user-id.
		return user.do(func() error {
			n, err := file.WriteAt(data, offset)
			offset += int64(n)
			return err
		})
	})
	return map[string]int64{"bytes": offset - r.Offset}, err
}

// receiveAll passes the client's data on, until its end.
func (s *stream) receiveAll(work func([]byte) error) error {
	s.grow(transferCredit)
	for {
		data, err := s.take()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := work(data); err != nil {
			return err
		}
		s.consumed(len(data))
	}
}

// upload is a file that is written beside its place.
type upload struct {
	path  string
	at    string
	state *fileState
	temp  string
	file  *os.File
}

func writeFile(s *stream, r *request, user identity) (any, error) {
	u := upload{path: string(r.Path), at: "file"}
	if err := user.do(func() error { return u.locate(string(r.Name)) }); err != nil {
		return nil, err
	}
	if r.Conditional {
		s.tell(map[string]any{"at": u.at, "state": u.state})
		if err := s.awaitGo(); err != nil {
			return nil, err
		}
	}
	if err := user.do(u.open); err != nil {
		return nil, err
	}
	defer func() {
		u.file.Close()
		if u.temp != "" {
			user.do(func() error { return syscall.Unlink(u.temp) })
		}
	}()
	var size int64
	err := s.receiveAll(func(data []byte) error {
		size += int64(len(data))
		if r.Length != nil && size > *r.Length {
			return fail("failed", "more bytes than its length")
		}
		_, err := u.file.Write(data)
		return err
	})
	if err == nil && r.Length != nil && size < *r.Length {
		err = fail("failed", "fewer bytes than its length")
	}
	if err != nil {
		return nil, err
	}
	s.sup.changes.Lock()
	defer s.sup.changes.Unlock()
	var result any
	err = user.do(func() (err error) {
		result, err = u.commit(r.Conditional)
		return err
	})
	return result, err
}

// locate finds the file's own path, and what is there.
func (u *upload) locate(name string) error {
	var st syscall.Stat_t
	if name != "" && syscall.Stat(u.path, &st) == nil && isDirectory(&st) {
		u.path, u.at = strings.TrimRight(u.path, "/")+"/"+name, "directory"
	}
	for range 40 {
		if syscall.Lstat(u.path, &st) != nil || !isLink(&st) {
			break
		}
		target, err := os.Readlink(u.path)
		if err != nil {
			return err
		}
		if !path.IsAbs(target) {
			// Not joined by package path, which would resolve `..` by names.
			target = u.path[:strings.LastIndexByte(u.path, '/')+1] + target
		}
		u.path = target
	}
	if u.state = stateOf(u.path); u.state == nil {
		return nil
	}
	st.Mode = u.state.Mode
	if !isRegular(&st) {
		return notRegular(&st)
	}
	return nil
}

// open makes the unfinished file, and its missing parents.
func (u *upload) open() error {
	parent := u.path[:strings.LastIndexByte(u.path, '/')+1]
	sweep(parent)
	u.temp = parent + newName(uploadPrefix)
	file, err := os.OpenFile(u.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, syscall.ENOENT) {
		if err = os.MkdirAll(parent, 0o755); err == nil {
			file, err = os.OpenFile(u.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		}
	}
	if err != nil {
		u.temp = ""
		return err
	}
	u.file = file
	return nil
}

// commit puts the file in its place.
func (u *upload) commit(conditional bool) (any, error) {
	now := stateOf(u.path)
	if conditional && !sameState(u.state, now) {
		return nil, errChanged
	}
	became := "created"
	if now != nil {
		became = "replaced"
		u.file.Chown(int(now.UID), int(now.GID)) // If the user may.
		if err := syscall.Fchmod(int(u.file.Fd()), now.Mode&0o7777); err != nil {
			return nil, err
		}
	}
	if err := syscall.Rename(u.temp, u.path); err != nil {
		return nil, err
	}
	u.temp = ""
	var st syscall.Stat_t
	err := syscall.Fstat(int(u.file.Fd()), &st)
	return map[string]any{"became": became, "at": u.at, "state": attributesOf(&st)}, err
}
