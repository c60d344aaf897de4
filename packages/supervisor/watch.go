package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// Bounds of what all streams watch.
const (
	mostWatches = 16
	mostWatched = 4096 // Directories.
	// mostPath bounds the paths that are told.
	mostPath = 4096
)

// Streams that watch, and the directories that all of them watch.
var (
	watches = counter{most: mostWatches}
	watched = counter{most: mostWatched}
)

const watchedChanges = syscall.IN_CREATE | syscall.IN_CLOSE_WRITE | syscall.IN_ATTRIB | syscall.IN_DELETE |
	syscall.IN_MOVED_FROM | syscall.IN_MOVED_TO | syscall.IN_DELETE_SELF | syscall.IN_MOVE_SELF | syscall.IN_ONLYDIR

// The changes of rows.
const (
	changeCreated    = "created"
	changeWritten    = "written"
	changeRemoved    = "removed"
	changeRenamed    = "renamed"
	changeAttributes = "attributes"
	changeOverflow   = "overflow"
)

// watcher tells of changes in directories, by an inotify instance of its own.
type watcher struct {
	out       rows
	fd        int
	recursive bool
	top       string
	topInfo   os.FileInfo
	paths     map[int32]string // Below the top, each with a slash at its end.
	upload    uint32           // The cookie of a file that is being moved to its place.
}

func watch(s *stream, r *request, _ identity) (any, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, tooMany("watches, for the kernel")
	}
	file := os.NewFile(uintptr(fd), "inotify")
	defer file.Close()
	w := &watcher{out: rows{s: s}, fd: fd, recursive: r.Recursive, top: string(r.Path), paths: map[int32]string{}}
	defer func() { watched.release(len(w.paths)) }()
	if err := w.begin(); err != nil {
		return nil, err
	}
	s.tell(struct{}{})
	go func() {
		<-s.ctx.Done()
		file.Close()
	}()
	buffer := make([]byte, 16<<10)
	for {
		n, err := file.Read(buffer)
		if s.ctx.Err() != nil {
			return nil, errCancelled
		}
		if err != nil {
			return nil, err
		}
		isGone, err := w.take(buffer[:n])
		err = errors.Join(err, w.out.flush())
		if isGone || err != nil {
			return nil, err
		}
	}
}

// begin watches the top. It is not held open: the kernel tells of its removal once nothing has it open.
func (w *watcher) begin() error {
	dir, err := openDirectory(w.top, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	if w.topInfo, err = dir.Stat(); err != nil {
		return err
	}
	return w.add(dir, "", false)
}

// add watches a directory, and with recursive those below it. Of a new one it tells what is in it by now.
func (w *watcher) add(dir *os.File, below string, isNew bool) error {
	if !watched.add(1) {
		return tooMany("watched directories")
	}
	number, err := syscall.InotifyAddWatch(w.fd, within(dir, "."), watchedChanges)
	if _, isKnown := w.paths[int32(number)]; err != nil || isKnown {
		watched.release(1)
	}
	if errors.Is(err, syscall.ENOSPC) {
		return tooMany("watched directories, for the kernel")
	}
	if err != nil {
		return err
	}
	w.paths[int32(number)] = below
	if !w.recursive {
		return nil
	}
	return eachEntry(dir, func(e entry) error {
		if w.out.s.ctx.Err() != nil {
			return errCancelled
		}
		if isNew {
			if err := w.tell(below+e.base, changeCreated); err != nil {
				return err
			}
		}
		if !e.info.IsDir() {
			return nil
		}
		inner, err := openInner(e.place)
		if err != nil {
			return nil
		}
		defer inner.Close()
		return w.addInner(inner, below+e.base+"/", isNew)
	}, ignore)
}

// addInner watches a directory below the top, unless it may not be read, is gone, or is too deep.
func (w *watcher) addInner(dir *os.File, below string, isNew bool) error {
	if len(below) >= mostPath || strings.Count(below, "/") > mostDepth {
		return nil
	}
	err := w.add(dir, below, isNew)
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return nil
	}
	return err
}

// addNew watches a directory that has appeared. No link in its path is followed.
func (w *watcher) addNew(below string) error {
	dir, err := w.reopen()
	for part := range strings.SplitSeq(strings.TrimSuffix(below, "/"), "/") {
		if err != nil {
			return nil
		}
		outer := dir
		dir, err = openInner(within(outer, part))
		outer.Close()
	}
	if err != nil {
		return nil
	}
	defer dir.Close()
	return w.addInner(dir, below, true)
}

// reopen opens the top, if its path still leads there.
func (w *watcher) reopen() (*os.File, error) {
	dir, err := openDirectory(w.top, 0)
	if err != nil {
		return nil, err
	}
	if info, err := dir.Stat(); err != nil || !os.SameFile(info, w.topInfo) {
		dir.Close()
		return nil, syscall.ENOENT
	}
	return dir, nil
}

// leave watches a directory that was moved away no more, nor those below it.
func (w *watcher) leave(below string) {
	for number, each := range w.paths {
		if strings.HasPrefix(each, below) {
			syscall.InotifyRmWatch(w.fd, uint32(number))
			delete(w.paths, number)
			watched.release(1)
		}
	}
}

// take tells of the events that the kernel has reported.
func (w *watcher) take(events []byte) (isGone bool, err error) {
	for len(events) >= syscall.SizeofInotifyEvent && err == nil && !isGone {
		event := (*syscall.InotifyEvent)(unsafe.Pointer(&events[0]))
		end := syscall.SizeofInotifyEvent + int(event.Len)
		name := string(bytes.TrimRight(events[syscall.SizeofInotifyEvent:end], "\x00"))
		events = events[end:]
		isGone, err = w.takeOne(event, name)
	}
	return isGone, err
}

func (w *watcher) takeOne(event *syscall.InotifyEvent, name string) (isGone bool, err error) {
	below, isKnown := w.paths[event.Wd]
	has := func(mask uint32) bool { return event.Mask&mask != 0 }
	switch {
	case has(syscall.IN_Q_OVERFLOW):
		return false, w.startOver()
	case !isKnown:
		return false, nil
	case has(syscall.IN_IGNORED):
		delete(w.paths, event.Wd)
		watched.release(1)
		return below == "", nil
	case has(syscall.IN_DELETE_SELF | syscall.IN_MOVE_SELF):
		return below == "", nil
	case name == "":
		return false, nil
	case isUnfinished(name):
		if has(syscall.IN_MOVED_FROM) {
			w.upload = event.Cookie
		}
		return false, nil
	}
	isDirectory := has(syscall.IN_ISDIR)
	if isDirectory && has(syscall.IN_MOVED_FROM) {
		w.leave(below + name + "/")
	}
	if err := w.tell(below+name, changeOf(event.Mask)); err != nil {
		return false, err
	}
	if has(syscall.IN_MOVED_TO) && event.Cookie != 0 && event.Cookie == w.upload {
		return false, w.tell(below+name, changeWritten)
	}
	if isDirectory && w.recursive && has(syscall.IN_CREATE|syscall.IN_MOVED_TO) {
		return false, w.addNew(below + name + "/")
	}
	return false, nil
}

// startOver tells that the kernel has lost events, and watches the directories that appeared meanwhile.
func (w *watcher) startOver() error {
	if err := w.tell("", changeOverflow); err != nil || !w.recursive {
		return err
	}
	dir, err := w.reopen()
	if err != nil {
		return nil
	}
	defer dir.Close()
	return w.add(dir, "", false)
}

func changeOf(mask uint32) string {
	switch {
	case mask&syscall.IN_DELETE != 0:
		return changeRemoved
	case mask&syscall.IN_MOVED_FROM != 0:
		return changeRenamed
	case mask&(syscall.IN_CREATE|syscall.IN_MOVED_TO) != 0:
		return changeCreated
	case mask&syscall.IN_CLOSE_WRITE != 0:
		return changeWritten
	}
	return changeAttributes
}

// tell sends a row, unless the path is too long for one.
func (w *watcher) tell(name, change string) error {
	if len(name) > mostPath {
		return nil
	}
	return w.out.add(map[string]any{"path": []byte(name), "change": change})
}
