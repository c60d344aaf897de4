package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// What package syscall does not name.
const (
	symlinkNoFollow = 0x100
	removeDir       = 0x200
	noReplace       = 1
	openPath        = 0x200000
)

var (
	sysFstatat   = map[string]uintptr{"amd64": 262, "arm64": 79}[runtime.GOARCH]
	sysRenameat2 = map[string]uintptr{"amd64": 316, "arm64": 276}[runtime.GOARCH]
)

const (
	// mostDepth bounds how many directories a walk has open.
	mostDepth = 256
	// namesAtOnce is how many names of a directory are read at once.
	namesAtOnce = 128
)

// at calls unlinkat(2) or mkdirat(2), which name an entry of a directory.
func at(call uintptr, dir *os.File, name string, argument uintptr) error {
	text, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, errno := syscall.Syscall(call, dir.Fd(), uintptr(unsafe.Pointer(text)), argument)
	return failed(errno)
}

// statAt describes an entry of a directory, without following it if it is a link.
func statAt(dir *os.File, name string) (st syscall.Stat_t, err error) {
	text, err := syscall.BytePtrFromString(name)
	if err != nil {
		return st, err
	}
	_, _, errno := syscall.Syscall6(sysFstatat, dir.Fd(), uintptr(unsafe.Pointer(text)),
		uintptr(unsafe.Pointer(&st)), symlinkNoFollow, 0, 0)
	return st, failed(errno)
}

// rename moves an entry; unless replace is set, never onto another.
func rename(from *os.File, name string, to *os.File, newName string, replace bool) error {
	old, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	text, err := syscall.BytePtrFromString(newName)
	if err != nil {
		return err
	}
	flags := uintptr(noReplace)
	if replace {
		flags = 0
	}
	_, _, errno := syscall.Syscall6(sysRenameat2, from.Fd(), uintptr(unsafe.Pointer(old)), to.Fd(),
		uintptr(unsafe.Pointer(text)), flags, 0)
	return failed(errno)
}

// failed is nil for 0, which is no nil error as it is.
func failed(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// within is a path of an entry of an open directory, for calls that have no other form.
func within(dir *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}

// openDirectory opens a directory, for reading or only to name its entries; the kernel resolves links in its path.
func openDirectory(name string, flags int) (*os.File, error) {
	fd, err := syscall.Open(name, flags|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openEntry opens an entry of a directory, without following it if it is a link.
func openEntry(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	flags |= syscall.O_NOFOLLOW | syscall.O_CLOEXEC | syscall.O_NONBLOCK
	at := int(dir.Fd())
	if flags&syscall.O_DIRECTORY != 0 {
		// gVisor (20240729) follows links if O_DIRECTORY is set, but not with O_PATH.
		fd, err := syscall.Openat(at, name, openPath|flags, 0)
		if err != nil {
			return nil, err
		}
		defer syscall.Close(fd)
		at, name = fd, "."
	}
	fd, err := syscall.Openat(at, name, flags, mode)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// eachName calls work with the names in a directory, but for this program's unfinished ones.
func eachName(dir *os.File, work func(string) error) error {
	for {
		names, err := dir.Readdirnames(namesAtOnce)
		for _, name := range names {
			if isTemporary(name) {
				continue
			}
			if err := work(name); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// entry is what a walk comes to. name is its path below the walk's directory.
type entry struct {
	dir  *os.File
	base string
	name string
	st   syscall.Stat_t
}

var errTooDeep = fail("failed", "the directories are too deep")

// walk visits all entries below a directory, each directory before its entries. It follows no links, and works
// by descriptors, so it cannot be led elsewhere. visit may return fs.SkipDir. unread gets the errors of reading.
func walk(dir *os.File, below string, depth int, visit func(entry) error, unread func(error) error) error {
	if depth > mostDepth {
		return unread(errTooDeep)
	}
	return eachName(dir, func(base string) error {
		e := entry{dir: dir, base: base, name: below + base}
		st, err := statAt(dir, base)
		if errors.Is(err, syscall.ENOENT) {
			return nil
		}
		if err != nil {
			return unread(err)
		}
		e.st = st
		if err := visit(e); err == fs.SkipDir {
			return nil
		} else if err != nil || !isDirectory(&st) {
			return err
		}
		inner, err := openEntry(dir, base, syscall.O_DIRECTORY, 0)
		if err != nil {
			return unread(err)
		}
		defer inner.Close()
		return walk(inner, e.name+"/", depth+1, visit, unread)
	})
}

// removeTree removes a directory with all that is in it. What is nested deeper than mostDepth is moved up first.
func removeTree(parent *os.File, name string) error {
	top, err := openEntry(parent, name, syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer top.Close()
	if err := empty(top, top, 0); err != nil {
		return err
	}
	return at(syscall.SYS_UNLINKAT, parent, name, removeDir)
}

func empty(top, dir *os.File, depth int) error {
	for {
		names, err := dir.Readdirnames(namesAtOnce)
		for _, name := range names {
			if err := removeEntry(top, dir, name, depth); err != nil {
				return err
			}
		}
		if err != nil && err != io.EOF {
			return err
		}
		if len(names) == 0 {
			return nil
		}
		// Begins again, as the directory has changed: entries may have been moved here.
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

func removeEntry(top, dir *os.File, name string, depth int) error {
	err := at(syscall.SYS_UNLINKAT, dir, name, 0)
	if err == nil || err == syscall.ENOENT {
		return nil
	}
	if err != syscall.EISDIR && err != syscall.EPERM {
		return err
	}
	inner, opened := openEntry(dir, name, syscall.O_DIRECTORY, 0)
	if opened == syscall.ENOTDIR {
		return err
	}
	if opened != nil {
		if at(syscall.SYS_UNLINKAT, dir, name, removeDir) == nil {
			return nil // Empty, and not readable.
		}
		return opened
	}
	defer inner.Close()
	if depth >= mostDepth {
		return rename(dir, name, top, newName(unpackPrefix), false)
	}
	if err := empty(top, inner, depth+1); err != nil {
		return err
	}
	return at(syscall.SYS_UNLINKAT, dir, name, removeDir)
}
