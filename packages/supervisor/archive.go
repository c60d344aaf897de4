package main

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

func packDirectory(s *stream, r *request, _ identity) (any, error) {
	dir, err := openDirectory(string(r.Path), 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	s.tell(struct{}{})
	p := newPacker(s)
	defer func() { walkMemory.n.Add(int64(-p.taken)) }()
	st, err := statAt(dir, ".")
	if err != nil {
		return nil, err
	}
	if err := p.add(entry{dir: dir, base: ".", st: st}); err != nil {
		return nil, err
	}
	if err := walk(dir, "", 0, p.add, p.unread); err != nil {
		return nil, err
	}
	if err := p.out.Close(); err != nil {
		return nil, err
	}
	return nil, p.missing
}

// packer writes entries to an archive.
type packer struct {
	out     *tar.Writer
	buffer  []byte
	names   map[[2]uint64]string // Of files with several names, by device and inode, as far as memory goes.
	taken   int
	missing error
}

func newPacker(w io.Writer) *packer {
	return &packer{out: tar.NewWriter(w), buffer: make([]byte, 32<<10), names: map[[2]uint64]string{}}
}

// unread notes that the archive lacks an entry.
func (p *packer) unread(err error) error {
	if p.missing == nil {
		p.missing = fail("path_denied", "the archive lacks entries: %v", err)
	}
	return nil
}

func (p *packer) add(e entry) error {
	header := &tar.Header{
		Format: tar.FormatGNU, Name: "./" + e.name, Mode: int64(e.st.Mode & 0o7777), Uid: int(e.st.Uid),
		Gid: int(e.st.Gid), ModTime: time.Unix(e.st.Mtim.Sec, 0),
	}
	switch e.st.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		header.Typeflag = tar.TypeDir
		if e.name != "" {
			header.Name += "/"
		}
	case syscall.S_IFLNK:
		target, err := os.Readlink(within(e.dir, e.base))
		if err != nil {
			return p.unread(err)
		}
		header.Typeflag, header.Linkname = tar.TypeSymlink, target
	case syscall.S_IFIFO:
		header.Typeflag = tar.TypeFifo
	case syscall.S_IFREG:
		return p.addFile(e, header)
	default:
		return nil // As tar ignores sockets.
	}
	return p.out.WriteHeader(header)
}

func (p *packer) addFile(e entry, header *tar.Header) error {
	header.Typeflag, header.Size = tar.TypeReg, e.st.Size
	file, err := openEntry(e.dir, e.base, syscall.O_RDONLY, 0)
	if err != nil {
		return p.unread(err)
	}
	defer file.Close()
	if e.st.Nlink > 1 {
		key := [2]uint64{uint64(e.st.Dev), e.st.Ino}
		if first, known := p.names[key]; known {
			header.Typeflag, header.Size, header.Linkname = tar.TypeLink, 0, first
			return p.out.WriteHeader(header)
		}
		if size := len(header.Name) + nameOverhead; walkMemory.add(size) {
			p.names[key] = header.Name
			p.taken += size
		}
	}
	if err := p.out.WriteHeader(header); err != nil {
		return err
	}
	// Exactly the bytes that the header promises: the file may change meanwhile.
	n, err := io.CopyBuffer(onlyWriter{p.out}, io.LimitReader(onlyReader{file}, header.Size), p.buffer)
	if err == nil && n < header.Size {
		_, err = io.CopyBuffer(onlyWriter{p.out}, io.LimitReader(zeros{}, header.Size-n), p.buffer)
	}
	return err
}

// onlyReader and onlyWriter hide methods by which io.CopyBuffer would not use its buffer.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
	zeros      struct{}
)

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func unpackArchive(s *stream, r *request, _ identity) (any, error) {
	s.grow(transferCredit)
	if err := os.MkdirAll(string(r.Path), 0o755); err != nil {
		return nil, err
	}
	dir, err := openDirectory(string(r.Path), 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	sweep(string(r.Path))
	u, err := newUnpacker(dir, &input{s: s})
	if err != nil {
		return nil, err
	}
	defer u.close()
	count, err := u.unpack()
	if err != nil {
		return nil, err
	}
	if err := merge(u.aside, dir, 0); err != nil {
		return nil, err
	}
	u.finish(dir)
	return map[string]int{"entries": count}, nil
}

// moveAcross moves an entry to another file system, as an archive, and then removes it.
func moveAcross(user identity, e entry, target *os.File, name string, replace bool) error {
	reads, writes := io.Pipe()
	go user.as(func() error {
		p := newPacker(writes)
		defer func() { walkMemory.n.Add(int64(-p.taken)) }()
		err := p.add(e)
		if err == nil && isDirectory(&e.st) {
			var dir *os.File
			if dir, err = openEntry(e.dir, e.base, syscall.O_DIRECTORY, 0); err == nil {
				err = walk(dir, e.base+"/", 0, p.add, p.unread)
				dir.Close()
			}
		}
		writes.CloseWithError(errors.Join(err, p.out.Close(), p.missing))
		return nil
	})
	defer reads.Close()
	u, err := newUnpacker(target, reads)
	if err != nil {
		return err
	}
	defer u.close()
	u.keepsOwner = user.uid == 0
	if _, err := u.unpack(); err != nil {
		return err
	}
	u.finish(u.aside)
	if err := rename(u.aside, e.base, target, name, replace); err != nil {
		return err
	}
	return removeEntry(e.dir, e.dir, e.base, 0)
}

// nameOverhead is what a remembered name takes besides itself, in bytes.
const nameOverhead = 512

// unpacker makes an archive's entries in a directory beside their places.
type unpacker struct {
	from       io.Reader
	archive    *tar.Reader
	dir        *os.File
	name       string
	aside      *os.File
	keepsOwner bool
	buffer     []byte
	delayed    []*tar.Header // Of directories, named below aside, as far as memory goes.
	taken      int
}

func newUnpacker(dir *os.File, from io.Reader) (*unpacker, error) {
	u := &unpacker{from: from, archive: tar.NewReader(from), dir: dir, name: newName(unpackPrefix)}
	u.buffer = make([]byte, 32<<10)
	err := at(syscall.SYS_MKDIRAT, dir, u.name, 0o700)
	if err == nil {
		u.aside, err = openEntry(dir, u.name, syscall.O_DIRECTORY, 0)
	}
	return u, err
}

func (u *unpacker) close() {
	walkMemory.n.Add(int64(-u.taken))
	u.aside.Close()
	removeEntry(u.dir, u.dir, u.name, 0)
}

// unpack makes all entries. It goes through no link.
func (u *unpacker) unpack() (count int, err error) {
	for ; ; count++ {
		header, err := u.archive.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, onlyReader{u.from}) // The padding behind the archive's end.
			return count, err
		}
		if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
			return count, fail("failed", "the archive is malformed: %v", err)
		}
		if err != nil {
			return count, err
		}
		name, err := localName(header.Name)
		if err != nil {
			return count, err
		}
		if name == "" {
			continue
		}
		parent, base, err := openParent(u.aside, name, true)
		if err != nil {
			return count, err
		}
		header.Name, header.PAXRecords = name, nil
		err = u.add(header, parent, base)
		parent.Close()
		if err != nil {
			return count, err
		}
	}
}

var errLeaves = fail("invalid_parameters", "an entry leaves the directory")

// localName is an entry's name without `.` and superfluous slashes; empty for the directory itself.
func localName(name string) (string, error) {
	parts := strings.FieldsFunc(name, func(c rune) bool { return c == '/' })
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "." })
	if strings.HasPrefix(name, "/") || slices.Contains(parts, "..") {
		return "", errLeaves
	}
	return strings.Join(parts, "/"), nil
}

// openParent opens the directory of an entry below top, and makes what is missing of it. It follows no links.
func openParent(top *os.File, name string, makes bool) (dir *os.File, base string, err error) {
	dir, err = openEntry(top, ".", syscall.O_DIRECTORY, 0)
	for err == nil {
		first, rest, isDeeper := strings.Cut(name, "/")
		if !isDeeper {
			return dir, name, nil
		}
		if makes {
			at(syscall.SYS_MKDIRAT, dir, first, 0o755)
		}
		outer := dir
		dir, err = openEntry(outer, first, syscall.O_DIRECTORY, 0)
		outer.Close()
		name = rest
	}
	if err == syscall.ENOTDIR || err == syscall.ELOOP {
		err = errLeaves
	}
	return nil, "", err
}

// add makes one entry, in place of an earlier one of its name.
func (u *unpacker) add(header *tar.Header, parent *os.File, base string) error {
	header.Mode &= 0o7777
	if os.Geteuid() != 0 {
		header.Mode &= 0o755
	}
	if header.Typeflag != tar.TypeDir {
		at(syscall.SYS_UNLINKAT, parent, base, 0)
	}
	switch header.Typeflag {
	case tar.TypeReg:
		file, err := openEntry(parent, base, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer file.Close()
		if _, err := io.CopyBuffer(onlyWriter{file}, onlyReader{u.archive}, u.buffer); err != nil {
			return err
		}
		return u.describe(file, header)
	case tar.TypeDir:
		if err := at(syscall.SYS_MKDIRAT, parent, base, 0o700); err != nil && err != syscall.EEXIST {
			return err
		}
		if size := len(header.Name) + nameOverhead; walkMemory.add(size) {
			u.delayed = append(u.delayed, header)
			u.taken += size
		}
		return nil
	case tar.TypeSymlink:
		err := os.Symlink(header.Linkname, within(parent, base))
		if err == nil && u.keepsOwner {
			err = os.Lchown(within(parent, base), header.Uid, header.Gid)
		}
		return err
	case tar.TypeLink:
		target, err := localName(header.Linkname)
		if err != nil {
			return err
		}
		dir, name, err := openParent(u.aside, target, false)
		if err != nil {
			return err
		}
		defer dir.Close()
		return os.Link(within(dir, name), within(parent, base))
	}
	return fail("invalid_parameters", "an entry is no file, directory or link")
}

// describe gives a new file or directory its owner, mode and time.
func (u *unpacker) describe(file *os.File, header *tar.Header) error {
	if u.keepsOwner {
		if err := file.Chown(header.Uid, header.Gid); err != nil {
			return err
		}
	}
	if err := syscall.Fchmod(int(file.Fd()), uint32(header.Mode)); err != nil {
		return err
	}
	second := syscall.Timeval{Sec: header.ModTime.Unix()}
	return syscall.Futimes(int(file.Fd()), []syscall.Timeval{second, second})
}

// finish describes the directories, the inner ones first, in their places below dir.
func (u *unpacker) finish(dir *os.File) {
	for _, header := range slices.Backward(u.delayed) {
		parent, base, err := openParent(dir, header.Name, false)
		if err != nil {
			continue
		}
		if made, err := openEntry(parent, base, syscall.O_DIRECTORY, 0); err == nil {
			u.describe(made, header)
			made.Close()
		}
		parent.Close()
	}
}

// merge moves the entries of a complete directory to their places: files replace files, directories are merged.
func merge(from, to *os.File, depth int) error {
	if depth > mostDepth {
		return errTooDeep
	}
	return eachName(from, func(name string) error {
		st, err := statAt(from, name)
		if err != nil {
			return err
		}
		there, err := statAt(to, name)
		if err != nil || !isDirectory(&st) && !isDirectory(&there) {
			return rename(from, name, to, name, true)
		}
		if !isDirectory(&st) || !isDirectory(&there) {
			return syscall.EEXIST
		}
		source, err := openEntry(from, name, syscall.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer source.Close()
		target, err := openEntry(to, name, syscall.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer target.Close()
		return merge(source, target, depth+1)
	})
}
