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

// at makes a system call that names an entry of a directory, as unlinkat(2).
func at(call uintptr, dir *os.File, name string, arguments ...uintptr) error {
	text, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	arguments = append(arguments, 0, 0)
	_, _, errno := syscall.Syscall6(call, dir.Fd(), uintptr(unsafe.Pointer(text)), arguments[0], arguments[1], 0, 0)
	runtime.KeepAlive(dir)
	if errno != 0 {
		return errno
	}
	return nil
}

// rename moves an entry; unless replace is set, never onto another.
func rename(from *os.File, name string, to *os.File, newName string, replace bool) error {
	flags := uintptr(noReplace)
	if replace {
		flags = 0
	}
	old, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	text, err := syscall.BytePtrFromString(newName)
	if err != nil {
		return err
	}
	_, _, errno := syscall.Syscall6(sysRenameat2, from.Fd(), uintptr(unsafe.Pointer(old)), to.Fd(),
		uintptr(unsafe.Pointer(text)), flags, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// within is a path of an entry of an open directory, for calls that have no other form.
func within(dir *os.File, name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name) }

// openDirectory opens a directory for reading; the kernel resolves links in its path.
func openDirectory(name string) (*os.File, error) {
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openDirectoryPath opens a directory that need not be readable, to name its entries.
func openDirectoryPath(name string) (*os.File, error) {
	fd, err := syscall.Open(name, openPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openEntry opens an entry of a directory, without following it if it is a link.
func openEntry(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	fd, err := syscall.Openat(int(dir.Fd()), name, flags|syscall.O_NOFOLLOW|syscall.O_CLOEXEC|syscall.O_NONBLOCK, mode)
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
// by descriptors, so it cannot be led elsewhere. visit may return fs.SkipDir. unread is called with what cannot be read.
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
		if len(names) > 0 {
			// Begins again, as the directory has changed: entries may have been moved here.
			if _, err := dir.Seek(0, io.SeekStart); err != nil {
				return err
			}
		} else {
			return nil
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
