package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const mostListed = 1_000_000

// fileOperation works with the rights of a user.
type fileOperation func(*stream, *request, identity) (any, error)

var fileOperations = map[string]fileOperation{
	"stat":     quick(statFile),
	"mkdir":    quick(makeDirectory),
	"create":   quick(createFile),
	"truncate": quick(truncateFile),
	"change":   quick(changeFile),
	"readlink": quick(readLink),
	"link":     quick(makeLink),
	"resolve":  quick(resolvePath),
	"space":    quick(readSpace),
	"list":     long(&walks, listDirectory),
	"move":     long(&walks, moveFile),
	"remove":   long(&walks, removeFile),
	"pack":     long(&walks, packDirectory),
	"unpack":   long(&walks, unpackArchive),
	"usage":    long(&walks, readUsage),
	"search":   long(&walks, search),
	"watch":    long(&watches, watch),
	"read":     readFile,
	"write":    writeFile,
	"pread":    readPart,
	"pwrite":   writePart,
}

// quick is an operation that waits for nothing but the kernel.
func quick(run func(string, *request) (any, error)) fileOperation {
	return func(_ *stream, r *request, user identity) (result any, err error) {
		err = user.do(func() (err error) {
			result, err = run(string(r.Path), r)
			return err
		})
		return result, err
	}
}

// walks bounds the operations on directories, each of which holds a thread, also while it waits for its client.
var walks = counter{most: 32}

// walkMemory bounds what all of them remember of names, in bytes.
var walkMemory = counter{most: 2 << 20}

// long is an operation that may wait for its client, and of which there is a bounded number.
func long(bound *counter, run fileOperation) fileOperation {
	return func(s *stream, r *request, user identity) (result any, err error) {
		if !bound.take() {
			return nil, tooMany("operations on directories")
		}
		defer bound.release()
		err = user.as(func() (err error) {
			result, err = run(s, r, user)
			return err
		})
		return result, err
	}
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
	Version string `json:"version,omitempty"`
}

func attributesOf(st *syscall.Stat_t) attributes {
	return attributes{
		Mode: st.Mode, Size: st.Size, UID: st.Uid, GID: st.Gid, Atime: st.Atim.Sec, Mtime: st.Mtim.Sec,
		MtimeNs: st.Mtim.Nsec, Links: uint64(st.Nlink),
		Version: fmt.Sprintf("%d-%d.%09d", st.Size, st.Mtim.Sec, st.Mtim.Nsec),
	}
}

func isDirectory(st *syscall.Stat_t) bool { return st.Mode&syscall.S_IFMT == syscall.S_IFDIR }
func isLink(st *syscall.Stat_t) bool      { return st.Mode&syscall.S_IFMT == syscall.S_IFLNK }
func isRegular(st *syscall.Stat_t) bool   { return st.Mode&syscall.S_IFMT == syscall.S_IFREG }

func describe(path string) (any, error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return nil, err
	}
	return attributesOf(&st), nil
}

func exists(path string) bool {
	var st syscall.Stat_t
	return syscall.Lstat(path, &st) == nil
}

// split separates a path's last name from its directory, which the kernel resolves.
func split(name string) (parent, base string, err error) {
	at := strings.LastIndexByte(name, '/')
	parent, base = name[:at+1], name[at+1:]
	if base == "" || base == "." || base == ".." {
		return "", "", syscall.EBUSY
	}
	return parent, base, nil
}

func statFile(name string, r *request) (any, error) {
	if r.Follow != nil && !*r.Follow {
		return describe(name)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(name, &st); err != nil {
		return nil, err
	}
	return attributesOf(&st), nil
}

func makeDirectory(name string, r *request) (any, error) {
	if exists(name) {
		return nil, syscall.EEXIST
	}
	if r.Parents {
		if err := os.MkdirAll(path.Dir(strings.TrimRight(name, "/")), 0o755); err != nil {
			return nil, err
		}
	}
	if err := syscall.Mkdir(name, 0o755); err != nil {
		return nil, err
	}
	if r.Mode != nil {
		if err := syscall.Chmod(name, *r.Mode); err != nil {
			return nil, err
		}
	}
	return describe(name)
}

// openFile opens a regular file, and nothing that opening could wait for.
func openFile(name string, flags int, mode uint32) (*os.File, syscall.Stat_t, error) {
	var st syscall.Stat_t
	err := syscall.Stat(name, &st)
	if err == nil && !isRegular(&st) {
		return nil, st, notRegular(&st)
	}
	if err != nil && (flags&syscall.O_CREAT == 0 || err != syscall.ENOENT) {
		return nil, st, err
	}
	fd, err := syscall.Open(name, flags|syscall.O_NONBLOCK|syscall.O_NOCTTY|syscall.O_CLOEXEC, mode)
	if err != nil {
		return nil, st, err
	}
	file := os.NewFile(uintptr(fd), name)
	if err = syscall.Fstat(fd, &st); err == nil && !isRegular(&st) {
		err = notRegular(&st)
	}
	if err != nil {
		file.Close()
		return nil, st, err
	}
	return file, st, nil
}

func notRegular(st *syscall.Stat_t) error {
	if isDirectory(st) {
		return syscall.EISDIR
	}
	return fail("path_not_file", "neither a file nor a directory")
}

func createFile(name string, r *request) (any, error) {
	isNew := !exists(name)
	flags, known := map[string]int{
		"keep": syscall.O_CREAT, "empty": syscall.O_CREAT | syscall.O_TRUNC, "refuse": syscall.O_CREAT | syscall.O_EXCL,
	}[r.Existing]
	if !known {
		return nil, invalid("existing is unknown")
	}
	if !isNew && r.Existing == "refuse" {
		return nil, syscall.EEXIST
	}
	file, _, err := openFile(name, flags|syscall.O_WRONLY, 0o666)
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
	file, _, err := openFile(name, syscall.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return nil, syscall.Ftruncate(int(file.Fd()), r.Size)
}

func changeFile(name string, r *request) (any, error) {
	var errs []error
	if r.UID != nil && r.GID != nil {
		errs = append(errs, syscall.Chown(name, int(*r.UID), int(*r.GID)))
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
	if exists(name) {
		return nil, syscall.EEXIST
	}
	switch r.Kind {
	case "hard":
		return nil, syscall.Link(string(r.Target), name)
	case "symbolic":
		return nil, syscall.Symlink(string(r.Target), name)
	}
	return nil, invalid("kind is unknown")
}

func resolvePath(name string, _ *request) (any, error) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		real = name
		if parent, base, err := split(name); err == nil {
			if above, err := filepath.EvalSymlinks(parent); err == nil {
				real = path.Join(above, base)
			}
		}
	}
	return map[string][]byte{"path": []byte(real)}, nil
}

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

func listDirectory(s *stream, r *request, _ identity) (any, error) {
	dir, err := openDirectory(string(r.Path), 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	out, count := rows{s: s}, 0
	err = eachName(dir, func(name string) error {
		st, err := statAt(dir, name)
		if err != nil {
			return nil // It is gone by now.
		}
		if count++; count > mostListed {
			return tooMany("entries")
		}
		return out.add(fileRow{Name: []byte(name), attributes: attributesOf(&st)})
	})
	if err != nil {
		return nil, err
	}
	return nil, out.flush()
}

// protected refuses to move or remove what the sandbox cannot lose. The kernel says which entry it is, not its name.
func protected(st *syscall.Stat_t) error {
	for name := dataPath; ; name = path.Dir(name) {
		var here syscall.Stat_t
		if syscall.Stat(name, &here) == nil && here.Dev == st.Dev && here.Ino == st.Ino {
			return syscall.EBUSY
		}
		if name == "/" {
			return nil
		}
	}
}

// openPlace finds an entry that is to be moved or removed. The kernel resolves the path to its directory.
func openPlace(name string) (entry, error) {
	parent, base, err := split(name)
	if err != nil {
		return entry{}, err
	}
	dir, err := openDirectory(parent, openPath)
	if err != nil {
		return entry{}, err
	}
	e := entry{dir: dir, base: base, name: base}
	if e.st, err = statAt(dir, base); err == nil {
		err = protected(&e.st)
	}
	if err != nil {
		dir.Close()
	}
	return e, err
}

func moveFile(s *stream, r *request, user identity) (any, error) {
	from, err := openPlace(string(r.From))
	if err != nil {
		return nil, err
	}
	defer from.dir.Close()
	parent, base, err := split(string(r.To))
	if err != nil || !r.Replace && exists(string(r.To)) {
		return nil, syscall.EEXIST
	}
	if r.Parents {
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return nil, err
		}
	}
	to, err := openDirectory(parent, openPath)
	if err != nil {
		return nil, err
	}
	defer to.Close()
	if there, err := statAt(to, base); err == nil && r.Replace && isLink(&there) && isDirectory(&from.st) {
		at(syscall.SYS_UNLINKAT, to, base, 0)
	}
	switch err = rename(from.dir, from.base, to, base, r.Replace); err {
	case syscall.EINVAL:
		err = syscall.EEXIST // Into itself.
	case syscall.EXDEV:
		err = moveAcross(user, from, to, base, r.Replace)
	}
	if err != nil {
		return nil, err
	}
	moved, err := statAt(to, base)
	return attributesOf(&moved), err
}

func removeFile(s *stream, r *request, _ identity) (any, error) {
	e, err := openPlace(string(r.Path))
	if err != nil {
		return nil, err
	}
	defer e.dir.Close()
	isDir := isDirectory(&e.st)
	if isDir && r.Kind == "file" {
		return nil, syscall.EISDIR
	}
	if !isDir && r.Kind == "directory" {
		return nil, syscall.ENOTDIR
	}
	if r.Conditional {
		// As for write, the state is that of a link's target.
		state := stateOf(string(r.Path))
		s.tell(map[string]any{"state": state})
		if err := s.awaitGo(); err != nil {
			return nil, err
		}
		s.sup.changes.Lock()
		defer s.sup.changes.Unlock()
		if !sameState(state, stateOf(string(r.Path))) {
			return nil, errChanged
		}
	}
	if isDir && r.Recursive {
		return nil, removeTree(e.dir, e.base)
	}
	if isDir {
		return nil, at(syscall.SYS_UNLINKAT, e.dir, e.base, removeDir)
	}
	return nil, at(syscall.SYS_UNLINKAT, e.dir, e.base, 0)
}

var errChanged = failure{Code: "precondition_failed", Message: "the file has changed"}

// fileState is what is at a path, for a comparison; nil is nothing.
type fileState struct {
	attributes
	inode uint64
}

func stateOf(name string) *fileState {
	var st syscall.Stat_t
	if syscall.Stat(name, &st) != nil {
		return nil
	}
	return &fileState{attributesOf(&st), st.Ino}
}

func sameState(a, b *fileState) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.inode == b.inode && a.Version == b.Version && a.Mode == b.Mode
}

// awaitGo waits for the client's decision about a change.
func (s *stream) awaitGo() error {
	var decision struct{ Go bool }
	if err := s.ask(&decision); err != nil {
		return err
	}
	if !decision.Go {
		return errCancelled
	}
	return nil
}

// isTemporary reports whether an entry is an unfinished one of this program.
func isTemporary(name string) bool {
	return len(name) == len(uploadPrefix)+36 && strings.HasPrefix(name, uploadPrefix) ||
		len(name) == len(unpackPrefix)+36 && strings.HasPrefix(name, unpackPrefix)
}
