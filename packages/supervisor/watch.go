package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

// Bounds of what all streams watch.
const (
	mostWatches = 16
	mostWatched = 4096 // Directories.
	// mostUntold is what waits for a client that does not read: gVisor (20240729) does not bound what waits for us.
	mostUntold = mostData - 128
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
	s         *stream
	untold    untold
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
	w := &watcher{s: s, untold: newUntold(), fd: fd, recursive: r.Recursive, top: string(r.Path), paths: map[int32]string{}}
	defer func() { watched.release(len(w.paths)) }()
	if err := w.begin(); err != nil {
		return nil, err
	}
	s.tell(struct{}{})
	go func() {
		<-s.ctx.Done()
		file.Close()
	}()
	sent := make(chan error, 1)
	go func() { sent <- w.untold.sendTo(s) }()
	err = w.read(file)
	w.untold.end()
	return nil, errors.Join(<-sent, err)
}

// read takes what the kernel reports, until the top is gone.
func (w *watcher) read(file *os.File) error {
	buffer := make([]byte, 16<<10)
	for {
		n, err := file.Read(buffer)
		if w.s.ctx.Err() != nil {
			return errCancelled
		}
		if err != nil {
			return err
		}
		if isGone, err := w.take(buffer[:n]); isGone || err != nil {
			return err
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
		if w.s.ctx.Err() != nil {
			return errCancelled
		}
		if isNew {
			w.tell(below+e.base, changeCreated)
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
	w.tell(below+name, changeOf(event.Mask))
	if has(syscall.IN_MOVED_TO) && event.Cookie != 0 && event.Cookie == w.upload {
		w.tell(below+name, changeWritten)
	}
	if isDirectory && w.recursive && has(syscall.IN_CREATE|syscall.IN_MOVED_TO) {
		return false, w.addNew(below + name + "/")
	}
	return false, nil
}

// startOver tells that the kernel has lost events, and watches the directories that appeared meanwhile.
func (w *watcher) startOver() error {
	w.tell("", changeOverflow)
	if !w.recursive {
		return nil
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

// tell has a row sent, unless the path is too long for one.
func (w *watcher) tell(name, change string) {
	if len(name) <= mostPath {
		w.untold.add(encodeChange(name, change))
	}
}

func encodeChange(name, change string) []byte {
	return append(encode(map[string]any{"path": []byte(name), "change": change}), '\n')
}

// untold is what waits until the client has read what was told before.
type untold struct {
	*sync.Cond
	rows   []byte
	isLost bool // Rows were dropped behind these.
	isOver bool
}

func newUntold() untold { return untold{Cond: sync.NewCond(&sync.Mutex{})} }

// add adds a row; it never waits. If there is no room, the client is told of an overflow in its place.
func (u *untold) add(row []byte) {
	u.L.Lock()
	defer u.L.Unlock()
	if u.isLost = u.isLost || len(u.rows)+len(row) > mostUntold; !u.isLost {
		u.rows = append(u.rows, row...)
	}
	u.Signal()
}

func (u *untold) end() {
	u.L.Lock()
	defer u.L.Unlock()
	u.isOver = true
	u.Signal()
}

// next waits for rows, and puts them into the memory of those before; none at the end.
func (u *untold) next(before []byte) []byte {
	u.L.Lock()
	defer u.L.Unlock()
	for len(u.rows) == 0 && !u.isOver {
		u.Wait()
	}
	all := u.rows
	if u.isLost {
		all = append(all, encodeChange("", changeOverflow)...)
	}
	u.rows, u.isLost = before[:0], false
	return all
}

// sendTo sends rows until the end, as the client gives credit.
func (u *untold) sendTo(s *stream) error {
	for rows := u.next(nil); len(rows) > 0; rows = u.next(rows) {
		err := s.sendData(len(rows), func(room []byte) (frameType, int, error) {
			return frameData, copy(room, rows), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
