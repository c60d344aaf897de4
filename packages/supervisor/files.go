package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const (
	mostListed = 1_000_000
	noReplace  = 1 // RENAME_NOREPLACE, which package syscall does not name.
)

// walks bounds the operations on directories: each holds a thread, also while it waits for its client.
var walks = counter{most: 32}

var sysRenameat2 = map[string]uintptr{"amd64": 316, "arm64": 276}[runtime.GOARCH]

// asUser is an operation on files with the rights of a user.
func asUser(run func(*stream, *request, identity) (any, error)) operation {
	return func(s *stream, r *request) (any, error) {
		user, err := s.sup.users.find(r.User)
		if err == nil {
			err = r.checkPaths()
		}
		if err != nil {
			return nil, err
		}
		return run(s, r, user)
	}
}

// quick is an operation that waits for nothing but the kernel.
func quick(run func(string, *request) (any, error)) operation {
	return asUser(func(_ *stream, r *request, user identity) (result any, err error) {
		err = user.do(func() (err error) {
			result, err = run(string(r.Path), r)
			return err
		})
		return result, err
	})
}

// long is an operation on a directory, which may wait for its client, and of which there is a bounded number.
func long(bound *counter, run func(*stream, *request, identity) (any, error)) operation {
	return asUser(func(s *stream, r *request, user identity) (result any, err error) {
		if !bound.add(1) {
			return nil, tooMany("operations on directories")
		}
		defer bound.release(1)
		err = user.as(func() (err error) {
			result, err = run(s, r, user)
			return err
		})
		return result, err
	})
}

// inside is a long operation on an open directory, that of the request's path.
func inside(bound *counter, run func(*stream, *request, *os.File) (any, error)) operation {
	return long(bound, func(s *stream, r *request, _ identity) (any, error) {
		dir, err := openDirectory(string(r.Path), 0)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		return run(s, r, dir)
	})
}

// attributes describe a file to a client.
type attributes struct {
	Mode    uint32 `json:"mode"`
	Size    int64  `json:"size"`
	UID     uint32 `json:"uid"`
	GID     uint32 `json:"gid"`
	Atime   int64  `json:"atime"`
	Mtime   int64  `json:"mtime"`
	MtimeNs int64  `json:"mtime_ns"`
	Links   uint64 `json:"links"`
	Version string `json:"version"`
	inode   uint64
}

func attributesOf(info fs.FileInfo) attributes {
	st := info.Sys().(*syscall.Stat_t)
	return attributes{
		Mode: st.Mode, Size: st.Size, UID: st.Uid, GID: st.Gid, Atime: st.Atim.Sec, Mtime: st.Mtim.Sec,
		MtimeNs: st.Mtim.Nsec, Links: uint64(st.Nlink),
		Version: fmt.Sprintf("%d-%d.%09d", st.Size, st.Mtim.Sec, st.Mtim.Nsec), inode: st.Ino,
	}
}

// described is the result of an operation on what is described.
func described(info fs.FileInfo, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return attributesOf(info), nil
}

func statFile(name string, r *request) (any, error) {
	if r.Follow != nil && !*r.Follow {
		return described(os.Lstat(name))
	}
	return described(os.Stat(name))
}

func makeDirectory(name string, r *request) (any, error) {
	if r.Parents {
		if err := os.MkdirAll(path.Dir(strings.TrimRight(name, "/")), 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(name, 0o755); err != nil {
		return nil, err
	}
	if r.Mode != nil {
		if err := syscall.Chmod(name, *r.Mode); err != nil {
			return nil, err
		}
	}
	return described(os.Lstat(name))
}

// openFile opens a regular file, and waits for nothing.
func openFile(name string, flags int) (*os.File, fs.FileInfo, error) {
	file, err := os.OpenFile(name, flags|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0o666)
	if errors.Is(err, syscall.EIO) {
		// gVisor's answer for a terminal that this process does not have.
		if info, missing := os.Stat(name); missing == nil {
			if irregular := checkRegular(info); irregular != nil {
				err = irregular
			}
		}
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil {
		err = checkRegular(info)
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

func checkRegular(info fs.FileInfo) error {
	if info.IsDir() {
		return syscall.EISDIR
	}
	if !info.Mode().IsRegular() {
		return fail("path_not_file", "neither a file nor a directory")
	}
	return nil
}

func createFile(name string, r *request) (any, error) {
	flags, known := map[string]int{"keep": 0, "empty": os.O_TRUNC, "refuse": 0}[r.Existing]
	if !known {
		return nil, invalid("existing is unknown")
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	isNew := err == nil
	if errors.Is(err, fs.ErrExist) && r.Existing != "refuse" {
		file, _, err = openFile(name, os.O_WRONLY|os.O_CREATE|flags) // Also by a link to nothing.
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if isNew && r.Mode != nil {
		err = syscall.Fchmod(int(file.Fd()), *r.Mode)
	}
	return nil, err
}

func truncateFile(name string, r *request) (any, error) {
	file, _, err := openFile(name, os.O_WRONLY)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return nil, file.Truncate(r.Size)
}

func changeFile(name string, r *request) (any, error) {
	var errs []error
	if r.UID != nil && r.GID != nil {
		errs = append(errs, os.Chown(name, int(*r.UID), int(*r.GID)))
	}
	if r.Mode != nil {
		errs = append(errs, syscall.Chmod(name, *r.Mode))
	}
	if r.Atime != nil && r.Mtime != nil {
		errs = append(errs, os.Chtimes(name, time.Unix(*r.Atime, 0), time.Unix(*r.Mtime, 0)))
	}
	return nil, errors.Join(errs...)
}

func readLink(name string, _ *request) (any, error) {
	target, err := os.Readlink(name)
	return map[string][]byte{"target": []byte(target)}, err
}

func makeLink(name string, r *request) (any, error) {
	switch r.Kind {
	case "hard":
		return nil, os.Link(string(r.Target), name)
	case "symbolic":
		return nil, os.Symlink(string(r.Target), name)
	}
	return nil, invalid("kind is unknown")
}

func resolvePath(name string, _ *request) (any, error) {
	real := resolve(name)
	if len(real) > mostPath {
		return nil, syscall.ENAMETOOLONG
	}
	return map[string][]byte{"path": []byte(real)}, nil
}

// resolve is a path without links and `..`, as far as it exists; the path itself if its parent does not.
func resolve(name string) string {
	for range 40 {
		if real, err := filepath.EvalSymlinks(name); err == nil {
			return real
		}
		parent, base := splitPath(name)
		real, err := filepath.EvalSymlinks(parent)
		if err != nil || isNoName(base) {
			return name
		}
		name = path.Join(real, base)
		target, err := os.Readlink(name)
		if err != nil {
			return name
		}
		if !path.IsAbs(target) {
			target = real + "/" + target
		}
		name = target // Of a link to nothing.
	}
	return name
}

// splitPath separates a path's last name from its directory, which the kernel resolves.
func splitPath(name string) (parent, base string) {
	at := strings.LastIndexByte(name, '/') + 1
	return name[:at], name[at:]
}

func isNoName(base string) bool { return base == "" || base == "." || base == ".." }

func readSpace(name string, _ *request) (any, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(name, &st); err != nil {
		return nil, err
	}
	return map[string]uint64{
		"block_size": uint64(st.Bsize), "blocks": st.Blocks, "free_blocks": st.Bfree, "available_blocks": st.Bavail,
		"files": st.Files, "free_files": st.Ffree, "longest_name": uint64(st.Namelen),
	}, nil
}

// fileRow describes an entry of a directory, or a file that was found.
type fileRow struct {
	Name []byte `json:"name,omitempty"`
	Path []byte `json:"path,omitempty"`
	Line int    `json:"line,omitempty"`
	Text []byte `json:"text,omitempty"`
	attributes
}

func listDirectory(s *stream, _ *request, dir *os.File) (any, error) {
	out, count := rows{s: s}, 0
	err := eachEntry(dir, func(e entry) error {
		if count++; count > mostListed {
			return tooMany("entries")
		}
		return out.add(fileRow{Name: []byte(e.base), attributes: attributesOf(e.info)})
	}, func(err error) error { return err })
	if err != nil {
		return nil, err
	}
	return nil, out.flush()
}

// checkProtected refuses what the sandbox cannot lose. The kernel says which entry it is, not its name.
func checkProtected(info fs.FileInfo) error {
	for name := dataPath; ; name = path.Dir(name) {
		if here, err := os.Stat(name); err == nil && os.SameFile(here, info) {
			return syscall.EBUSY
		}
		if name == "/" {
			return nil
		}
	}
}

// openPlace finds an entry that is to be moved or removed. Its path leads to it also when links above it change.
func openPlace(name string) (dir *os.File, place string, info fs.FileInfo, err error) {
	dir, place, err = openParent(name)
	if err != nil {
		return nil, "", nil, err
	}
	if info, err = os.Lstat(place); err == nil {
		err = checkProtected(info)
	}
	if err != nil {
		dir.Close()
	}
	return dir, place, info, err
}

func moveEntry(s *stream, r *request, user identity) (any, error) {
	fromDir, from, info, err := openPlace(string(r.From))
	if err != nil {
		return nil, err
	}
	defer fromDir.Close()
	above, base := splitPath(string(r.To))
	if isNoName(base) {
		return nil, syscall.EEXIST
	}
	if r.Parents {
		if err := os.MkdirAll(above, 0o755); err != nil {
			return nil, err
		}
	}
	toDir, to, err := openParent(string(r.To))
	if err != nil {
		return nil, err
	}
	defer toDir.Close()
	err = s.sup.moveTo(from, info, to, r.Replace)
	if err == syscall.EXDEV {
		err = s.moveAcross(from, toDir, base, user)
	}
	if err != nil {
		return nil, err
	}
	return described(os.Lstat(to))
}

// moveTo renames an entry, within a file system.
func (sup *supervisor) moveTo(from string, info fs.FileInfo, to string, replace bool) error {
	sup.changes.Lock()
	defer sup.changes.Unlock()
	there, err := os.Lstat(to)
	if err == nil && !replace {
		return syscall.EEXIST
	}
	if err == nil && info.IsDir() && there.Mode()&fs.ModeSymlink != 0 {
		os.Remove(to)
	}
	if replace {
		err = syscall.Rename(from, to)
	} else {
		err = renameNew(from, to)
	}
	if err == syscall.EINVAL {
		return syscall.EEXIST // Into itself.
	}
	return err
}

// renameNew renames an entry to a name that nothing has.
func renameNew(from, to string) error {
	const here = ^uintptr(99) // AT_FDCWD
	old, _ := syscall.BytePtrFromString(from)
	name, _ := syscall.BytePtrFromString(to)
	_, _, errno := syscall.Syscall6(sysRenameat2, here, uintptr(unsafe.Pointer(old)), here,
		uintptr(unsafe.Pointer(name)), noReplace, 0)
	if errno == syscall.EINVAL { // gVisor (20240729) refuses the flag in volumes, as the host may use them too.
		return renameByLink(from, to)
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// renameByLink renames an entry to a name that nothing has: link(2) replaces nothing, and rename(2) of a directory
// nothing but an empty one.
func renameByLink(from, to string) error {
	err := syscall.Link(from, to)
	if err == nil {
		return syscall.Unlink(from)
	}
	if err == syscall.EPERM { // A directory, or the file of another user.
		return syscall.Rename(from, to)
	}
	return err
}

func removeEntry(s *stream, r *request, _ identity) (any, error) {
	name := string(r.Path)
	dir, place, info, err := openPlace(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if info.IsDir() && r.Kind == "file" {
		return nil, syscall.EISDIR
	}
	if !info.IsDir() && r.Kind == "directory" {
		return nil, syscall.ENOTDIR
	}
	if r.Conditional {
		// As for write, the state is that of a link's target.
		state := stateOf(name)
		if err := s.awaitGo(map[string]any{"state": state}); err != nil {
			return nil, err
		}
		s.sup.changes.Lock()
		defer s.sup.changes.Unlock()
		if !sameState(state, stateOf(name)) {
			return nil, errChanged
		}
	}
	if r.Recursive {
		return nil, removeAll(place, nil, 0)
	}
	return nil, os.Remove(place)
}

var errChanged = failure{Code: "precondition_failed", Message: "the file has changed"}

// stateOf is what is at a path, for a comparison; nil is nothing.
func stateOf(name string) *attributes {
	info, err := os.Stat(name)
	if err != nil {
		return nil
	}
	state := attributesOf(info)
	return &state
}

func sameState(a, b *attributes) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.inode == b.inode && a.Version == b.Version && a.Mode == b.Mode
}

// awaitGo tells the client what a change is about, and waits for its decision.
func (s *stream) awaitGo(about any) error {
	s.tell(about)
	var decision struct{ Go bool }
	if err := s.ask(&decision); err != nil {
		return err
	}
	if !decision.Go {
		return errCancelled
	}
	return nil
}
