package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

// Bounds of walks that look for something.
const (
	mostFound    = 10_000
	mostVisited  = 1_000_000
	mostSearched = 1 << 30
	mostFile     = 16 << 20
	mostLine     = 256
)

var errEnough = errors.New("a bound is reached")

// walkBounded walks for the request's seconds, and to mostVisited entries; it reports whether it came to the end.
func walkBounded(s *stream, r *request, dir *os.File, visit func(entry) error) (isComplete bool, err error) {
	seconds := cmp.Or(r.Seconds, 10)
	if seconds < 1 || seconds > 60 {
		return false, invalid("seconds is out of range")
	}
	until, count := time.Now().Add(time.Duration(seconds)*time.Second), 0
	err = walk(dir, "", func(e entry) error {
		if count++; count > mostVisited || time.Now().After(until) || s.ctx.Err() != nil {
			return errEnough
		}
		return visit(e)
	}, ignore)
	if s.ctx.Err() != nil {
		return false, errCancelled
	}
	return err == nil, nil
}

func readUsage(s *stream, r *request, dir *os.File) (any, error) {
	info, err := dir.Stat()
	if err != nil {
		return nil, err
	}
	top := info.Sys().(*syscall.Stat_t)
	usage := struct {
		Bytes       int64 `json:"bytes"`
		Files       int   `json:"files"`
		Directories int   `json:"directories"`
		Complete    bool  `json:"complete"`
	}{Bytes: top.Blocks * 512}
	usage.Complete, err = walkBounded(s, r, dir, func(e entry) error {
		st := e.info.Sys().(*syscall.Stat_t)
		if st.Dev != top.Dev {
			return fs.SkipDir
		}
		usage.Bytes += st.Blocks * 512
		if e.info.IsDir() {
			usage.Directories++
		} else {
			usage.Files++
		}
		return nil
	})
	return usage, err
}

func search(s *stream, r *request, dir *os.File) (any, error) {
	limit := cmp.Or(r.Limit, 1000)
	pattern := strings.ToLower(r.Pattern)
	if !strings.ContainsAny(pattern, "*?[") {
		pattern = "*" + strings.ReplaceAll(pattern, `\`, `\\`) + "*"
	}
	if _, err := path.Match(pattern, ""); err != nil || limit < 1 || limit > mostFound ||
		r.Pattern == "" && r.Content == "" || len(r.Pattern)+len(r.Content) > mostWords {
		return nil, invalid("nothing to search, or a bound is out of range")
	}
	found := finder{out: rows{s: s}, left: limit, bytes: mostSearched, content: []byte(r.Content)}
	isComplete, err := walkBounded(s, r, dir, func(e entry) error {
		if matches, _ := path.Match(pattern, strings.ToLower(e.base)); !matches {
			return nil
		}
		if len(found.content) > 0 {
			return found.searchFile(e)
		}
		return found.add(e, 0, nil)
	})
	if err != nil {
		return nil, err
	}
	return map[string]bool{"complete": isComplete}, found.out.flush()
}

// finder collects what a search finds.
type finder struct {
	out     rows
	left    int
	bytes   int64
	content []byte
}

// add leaves out what no request can name.
func (f *finder) add(e entry, line int, text []byte) error {
	if len(e.name) > mostPath {
		return nil
	}
	if f.left == 0 {
		return errEnough
	}
	f.left--
	return f.out.add(fileRow{Path: []byte(e.name), Line: line, Text: text, attributes: attributesOf(e.info)})
}

// searchFile looks for lines with the content, in a file that seems to be text.
func (f *finder) searchFile(e entry) error {
	if !e.info.Mode().IsRegular() || e.info.Size() > mostFile {
		return nil
	}
	if f.bytes -= e.info.Size(); f.bytes < 0 {
		return errEnough
	}
	file, _, err := openFile(e.place, os.O_RDONLY|syscall.O_NOFOLLOW)
	if err != nil {
		return nil
	}
	defer file.Close()
	lines := bufio.NewReaderSize(io.LimitReader(file, mostFile), 32<<10)
	if head, _ := lines.Peek(mostWords); bytes.IndexByte(head, 0) >= 0 {
		return nil
	}
	for number, isNew := 1, true; ; {
		// A line that is longer than the buffer is looked at in parts.
		part, err := lines.ReadSlice('\n')
		if isNew && bytes.Contains(part, f.content) {
			if err := f.add(e, number, bytes.TrimSuffix(part[:min(len(part), mostLine)], []byte("\n"))); err != nil {
				return err
			}
		}
		if isNew = err == nil; isNew {
			number++
		}
		if err != nil && err != bufio.ErrBufferFull {
			return nil
		}
	}
}
