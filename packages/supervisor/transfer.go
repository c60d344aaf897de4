package main

import (
	"io"
	"math"
	"os"
	"strings"
	"syscall"
)

const mostPart = 16 << 20

// openAs opens a regular file with a user's rights.
func openAs(user identity, r *request, flags int) (file *os.File, state attributes, err error) {
	err = user.do(func() error {
		opened, info, err := openFile(string(r.Path), flags)
		if err == nil {
			file, state = opened, attributesOf(info)
		}
		return err
	})
	return file, state, err
}

func readFile(s *stream, r *request, user identity) (any, error) {
	file, state, err := openAs(user, r, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	s.tell(map[string]attributes{"state": state})
	want := struct{ Offset, Length, Most int64 }{Length: state.Size}
	if state.Size == 0 || state.Size > min(r.Inline, mostData) {
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

func readPart(s *stream, r *request, user identity) (any, error) {
	if r.Length == nil || *r.Length < 0 || *r.Length > mostPart || r.Offset < 0 {
		return nil, invalid("the part is out of range")
	}
	file, _, err := openAs(user, r, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	_, err = s.sendFile(file, r.Offset, *r.Length)
	return nil, err
}

// sendFile sends at most length bytes of a file.
func (s *stream) sendFile(file *os.File, offset, length int64) (sent int64, err error) {
	for sent < length && err == nil {
		err = s.sendData(1, func(room []byte) (frameType, int, error) {
			n, err := file.ReadAt(room[:min(int64(len(room)), length-sent)], offset+sent)
			sent += int64(n)
			if n == 0 {
				return noFrame, 0, err
			}
			return frameData, n, err
		})
	}
	if err == io.EOF {
		err = nil
	}
	return sent, err
}

func writePart(s *stream, r *request, user identity) (any, error) {
	file, _, err := openAs(user, r, os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	offset := r.Offset
	err = s.receive(transferCredit, func(data []byte) error {
		// With the user's rights: root's writing would leave the bits of set-user-id.
		return user.do(func() error {
			n, err := file.WriteAt(data, offset)
			offset += int64(n)
			return err
		})
	})
	return map[string]int64{"bytes": offset - r.Offset}, err
}

// upload is a file that is written beside its place.
type upload struct {
	path  string
	at    string
	state *attributes
	file  *os.File
}

func writeFile(s *stream, r *request, user identity) (any, error) {
	u := upload{path: string(r.Path), at: "file"}
	if err := user.do(func() error { return u.locate(string(r.Name)) }); err != nil {
		return nil, err
	}
	if r.Conditional {
		if err := s.awaitGo(map[string]any{"at": u.at, "state": u.state}); err != nil {
			return nil, err
		}
	}
	if err := user.do(u.open); err != nil {
		return nil, err
	}
	defer u.file.Close()
	result, err := u.write(s, r, user)
	if err != nil {
		user.do(func() error { return os.Remove(u.file.Name()) })
	}
	return result, err
}

// locate finds the file's own path, and what is there.
func (u *upload) locate(name string) error {
	if info, err := os.Stat(u.path); err == nil && name != "" && info.IsDir() {
		u.path, u.at = strings.TrimRight(u.path, "/")+"/"+name, "directory"
	}
	u.path = resolve(u.path)
	if info, err := os.Stat(u.path); err == nil {
		if err := checkRegular(info); err != nil {
			return err
		}
	}
	u.state = stateOf(u.path)
	return nil
}

// open makes the unfinished file, and its missing parents.
func (u *upload) open() error {
	parent, _ := splitPath(u.path)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	if dir, err := openDirectory(parent, 0); err == nil {
		sweep(dir)
		dir.Close()
	}
	file, err := os.OpenFile(parent+unfinishedName(uploadPrefix), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	u.file = file
	return err
}

// write takes the content, and puts the file in its place.
func (u *upload) write(s *stream, r *request, user identity) (result any, err error) {
	var size int64
	err = s.receive(transferCredit, func(data []byte) error {
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
	err = user.do(func() (err error) {
		result, err = u.commit(r.Conditional)
		return err
	})
	return result, err
}

// commit puts the file in its place, unless that has changed.
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
	info, err := u.file.Stat()
	if err != nil {
		return nil, err
	}
	result := map[string]any{"became": became, "at": u.at, "state": attributesOf(info)}
	return result, syscall.Rename(u.file.Name(), u.path)
}
