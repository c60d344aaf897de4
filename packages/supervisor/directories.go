package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Directories of other users may change while root works in them. So they are held open, and their entries are named
// by paths below /proc/self/fd, which no link leads elsewhere.

const (
	openPath = 0x200000 // O_PATH, which package syscall does not name.
	// mostDepth bounds how many directories a walk has open.
	mostDepth = 128
	// namesAtOnce is how many names of a directory are read at once.
	namesAtOnce = 128
	// mostSwept is how many directories are remembered as swept.
	mostSwept = 1024
	// After so long without a change, an unfinished file or directory is what a killed sandbox has left.
	uploadLeftAfter = 15 * time.Minute
	unpackLeftAfter = 24 * time.Hour
)

// The names of unfinished files and directories are one of these and 36 characters.
const (
	uploadPrefix = ".berth-upload-"
	unpackPrefix = ".berth-unpacking-"
)

func unfinishedName(prefix string) string {
	random := make([]byte, 18)
	rand.Read(random)
	return prefix + hex.EncodeToString(random)
}

func isUnfinished(name string) bool {
	return len(name) == len(uploadPrefix)+36 && strings.HasPrefix(name, uploadPrefix) ||
		len(name) == len(unpackPrefix)+36 && strings.HasPrefix(name, unpackPrefix)
}

// swept has the directories that need no sweeping any more, by device and inode.
var swept = struct {
	sync.Mutex
	known map[[2]uint64]bool
}{known: map[[2]uint64]bool{}}

// sweep removes what killed sandboxes have left unfinished in a directory; once, as this one cleans up after itself.
func sweep(dir *os.File) {
	var st syscall.Stat_t
	syscall.Fstat(int(dir.Fd()), &st)
	key := [2]uint64{uint64(st.Dev), st.Ino}
	swept.Lock()
	isKnown := swept.known[key]
	if len(swept.known) >= mostSwept {
		clear(swept.known)
	}
	swept.known[key] = true
	swept.Unlock()
	for names, err := []string{}, error(nil); err == nil && !isKnown; names, err = dir.Readdirnames(namesAtOnce) {
		for _, name := range names {
			age := uploadLeftAfter
			if strings.HasPrefix(name, unpackPrefix) {
				age = unpackLeftAfter
			}
			if !isUnfinished(name) {
				continue
			}
			place := within(dir, name)
			if info, err := os.Lstat(place); err == nil && time.Since(info.ModTime()) > age {
				removeAll(place, nil, 0)
			}
		}
	}
}

// within is the path of an entry of an open directory.
func within(dir *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}

// openDirectory opens a directory, for reading or only to name its entries; the kernel resolves links in its path.
func openDirectory(name string, flags int) (*os.File, error) {
	return os.OpenFile(name, flags|syscall.O_DIRECTORY, 0)
}

// openParent opens the directory of an entry, and returns the entry's path within.
func openParent(name string) (*os.File, string, error) {
	parent, base := splitPath(name)
	if isNoName(base) {
		return nil, "", syscall.EBUSY
	}
	dir, err := openDirectory(parent, openPath)
	if err != nil {
		return nil, "", err
	}
	return dir, within(dir, base), nil
}

// openInner opens a directory for reading, but follows no link in its place.
func openInner(place string) (*os.File, error) {
	// gVisor (20240729) follows links if O_DIRECTORY is set, but not with O_PATH.
	dir, err := openDirectory(place, openPath|syscall.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return openDirectory(within(dir, "."), 0)
}

// entry is what a walk comes to.
type entry struct {
	base  string
	name  string // Its path below the walk's directory.
	place string // Its path, while its directory is open.
	info  fs.FileInfo
}

// eachEntry visits what is in a directory, but for what is unfinished. unread gets the errors of single entries.
func eachEntry(dir *os.File, visit func(entry) error, unread func(error) error) error {
	// Each step of a path is a call to gVisor's file server, so entries are looked at from their directory.
	here, err := os.OpenRoot(within(dir, "."))
	if err != nil {
		return err
	}
	defer here.Close()
	for {
		names, end := dir.Readdirnames(namesAtOnce)
		for _, base := range names {
			if isUnfinished(base) {
				continue
			}
			place := within(dir, base)
			info, err := here.Lstat(base)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = visit(entry{base, base, place, info})
			} else {
				err = unread(err)
			}
			if err != nil {
				return err
			}
		}
		if end == io.EOF {
			return nil
		}
		if end != nil {
			return end
		}
	}
}

func ignore(error) error { return nil }

// walk visits all entries below a directory, each directory before its entries. visit may return fs.SkipDir.
func walk(dir *os.File, below string, visit func(entry) error, unread func(error) error) error {
	if strings.Count(below, "/") > mostDepth {
		return unread(fail("failed", "the directories are too deep"))
	}
	return eachEntry(dir, func(e entry) error {
		e.name = below + e.base
		if err := visit(e); err == fs.SkipDir {
			return nil
		} else if err != nil || !e.info.IsDir() {
			return err
		}
		inner, err := openInner(e.place)
		if err != nil {
			return unread(err)
		}
		defer inner.Close()
		return walk(inner, e.name+"/", visit, unread)
	}, unread)
}

// removeAll removes an entry with all that is below it. What is nested deeper than mostDepth is moved to top first.
func removeAll(place string, top *os.File, depth int) error {
	err := os.Remove(place)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	if depth > mostDepth {
		return syscall.Rename(place, within(top, unfinishedName(unpackPrefix)))
	}
	dir, err := openInner(place)
	if err != nil {
		return err
	}
	defer dir.Close()
	if top == nil {
		top = dir
	}
	for {
		names, err := dir.Readdirnames(namesAtOnce)
		if len(names) == 0 && err == io.EOF {
			return os.Remove(place)
		}
		if err != nil {
			return err
		}
		// Begins again behind them, as the directory changes: entries may be moved here.
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
		for _, name := range names {
			if err := removeAll(within(dir, name), top, depth+1); err != nil {
				return err
			}
		}
	}
}
