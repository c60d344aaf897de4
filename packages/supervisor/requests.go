package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
)

// request is what a client asks for by OPEN, of any operation. Bytes are base64 in JSON.
type request struct {
	Op, User string
	size     // Of resize.

	ID, Owner, Cwd, Signal           string
	Argv                             []string
	Env                              map[string]*string
	TTY                              *size
	Stdin, Kept, Input, Watch        bool
	Ring                             int
	After                            int64
	Follow                           *bool
	GraceMs                          *int  `json:"grace_ms"`
	TimeoutMs                        int64 `json:"timeout_ms"`
	Port                             int
	Path, From, To, Name, Target     []byte
	Kind, Existing, Pattern, Content string
	Inline, Offset, Size             int64
	Length, Atime, Mtime             *int64
	Mode, UID, GID                   *uint32
	Conditional, Parents, Replace    bool
	Recursive                        bool
	Limit, Seconds                   int
}

// size is that of a terminal, in characters.
type size struct{ Columns, Rows int }

// isValid reports whether the kernel can represent the size.
func (z size) isValid() bool {
	return z.Columns > 0 && z.Rows > 0 && z.Columns < 1<<16 && z.Rows < 1<<16
}

// takesData reports whether the client sends data on the stream.
func (r *request) takesData() bool {
	switch r.Op {
	case "start":
		return r.Stdin || r.TTY != nil
	case "attach":
		return r.Input
	}
	return r.Op == "write" || r.Op == "pwrite" || r.Op == "unpack" || r.Op == "connect"
}

// operation does what a client asks for. Its result is the stream's DONE, its error the FAIL.
type operation func(*stream, *request) (any, error)

// operations are those that PROTOCOL.md describes.
var operations = map[string]operation{
	"start":       start,
	"attach":      attach,
	"signal":      signalProgram,
	"end":         endProgram,
	"resize":      resize,
	"descendants": descendants,
	"programs":    listPrograms,
	"forget":      forget,
	"ports":       listPorts,
	"connect":     connectPort,
	"stat":        quick(statFile),
	"mkdir":       quick(makeDirectory),
	"create":      quick(createFile),
	"truncate":    quick(truncateFile),
	"change":      quick(changeFile),
	"readlink":    quick(readLink),
	"link":        quick(makeLink),
	"resolve":     quick(resolvePath),
	"space":       quick(readSpace),
	"list":        inside(&walks, listDirectory),
	"move":        long(&walks, moveEntry),
	"remove":      long(&walks, removeEntry),
	"pack":        inside(&walks, packDirectory),
	"unpack":      long(&walks, unpackArchive),
	"usage":       inside(&walks, readUsage),
	"search":      inside(&walks, search),
	"watch":       long(&watches, watch),
	"read":        asUser(readFile),
	"write":       asUser(writeFile),
	"pread":       asUser(readPart),
	"pwrite":      asUser(writePart),
}

// checkPaths refuses paths that are not absolute, or too long.
func (r *request) checkPaths() error {
	paths := [][]byte{r.Path}
	if r.Op == "move" {
		paths = [][]byte{r.From, r.To}
	}
	for _, path := range paths {
		if len(path) == 0 || len(path) > 4096 || path[0] != '/' || bytes.IndexByte(path, 0) >= 0 {
			return invalid("a path is not absolute, or too long")
		}
	}
	if bytes.ContainsAny(r.Name, "\x00/") || bytes.IndexByte(r.Target, 0) >= 0 || r.Offset < 0 || r.Size < 0 {
		return invalid("a value is out of range")
	}
	if r.Mode != nil && *r.Mode > 0o7777 {
		return invalid("the mode is out of range")
	}
	return nil
}

// failure is the payload of FAIL and BYE.
type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Reason  string `json:"reason,omitempty"`
}

func (f failure) Error() string { return f.Code + ": " + f.Message }

var errCancelled = failure{Code: "cancelled", Message: "the client has cancelled"}

func fail(code, format string, args ...any) failure {
	return failure{Code: code, Message: fmt.Sprintf(format, args...)}
}
func invalid(message string) failure { return fail("invalid_request", "%s", message) }
func tooMany(of string) failure      { return fail("too_many", "too many %s", of) }
func notStarted(reason, message string) failure {
	return failure{Code: "command_not_started", Reason: reason, Message: message}
}

// byErrno translates errors of the kernel about files.
var byErrno = map[syscall.Errno]string{
	syscall.ENOENT:       "path_not_found",
	syscall.ELOOP:        "path_not_found",
	syscall.ENOTDIR:      "path_not_directory",
	syscall.EACCES:       "path_denied",
	syscall.EPERM:        "path_denied",
	syscall.EROFS:        "path_denied",
	syscall.EEXIST:       "path_exists",
	syscall.EISDIR:       "path_is_directory",
	syscall.ENOTEMPTY:    "directory_not_empty",
	syscall.ENOSPC:       "no_space",
	syscall.EDQUOT:       "no_space",
	syscall.ENAMETOOLONG: "invalid_parameters",
	syscall.EBUSY:        "path_protected",
	syscall.ENXIO:        "path_not_file",
}

// failureOf is the error as a client reads it.
func failureOf(err error) failure {
	var f failure
	if !errors.As(err, &f) {
		f = failure{Code: "failed", Message: err.Error()}
		var errno syscall.Errno
		if errors.As(err, &errno) && byErrno[errno] != "" {
			f.Code = byErrno[errno]
		}
	}
	f.Message = f.Message[:min(len(f.Message), 1024)]
	return f
}

// encode encodes what is known to be encodable.
func encode(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		text = []byte("{}")
	}
	return text
}
