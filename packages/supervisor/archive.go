package main

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// rememberedBytes is what a remembered name takes of the shared memory besides itself.
const rememberedBytes = 512

func packDirectory(s *stream, _ *request, dir *os.File) (any, error) {
	s.tell(struct{}{})
	return nil, pack(s, s, entry{name: ".", place: within(dir, ".")})
}

// packer writes entries to an archive.
type packer struct {
	s       *stream
	out     *tar.Writer
	names   map[[2]uint64]string // Of files with several names, by device and inode, as far as memory goes.
	missing error
}

// pack writes an archive of an entry, and of all below it.
func pack(s *stream, to io.Writer, top entry) (err error) {
	p := &packer{s: s, out: tar.NewWriter(to), names: map[[2]uint64]string{}}
	if top.info, err = os.Lstat(top.place); err != nil {
		return err
	}
	if err := p.add(top); err != nil {
		return err
	}
	if top.info.IsDir() {
		dir, err := openInner(top.place)
		if err != nil {
			return err
		}
		defer dir.Close()
		if err := walk(dir, top.name+"/", p.add, p.unread); err != nil {
			return err
		}
	}
	if err := p.out.Close(); err != nil {
		return err
	}
	return p.missing
}

// unread notes that the archive lacks an entry.
func (p *packer) unread(err error) error {
	if p.missing == nil {
		p.missing = fail("path_denied", "the archive lacks entries: %v", err)
	}
	return nil
}

func (p *packer) add(e entry) error {
	st := e.info.Sys().(*syscall.Stat_t)
	header := &tar.Header{
		Format: tar.FormatGNU, Name: e.name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Sec, 0),
	}
	switch e.info.Mode().Type() {
	case fs.ModeDir:
		header.Typeflag, header.Name = tar.TypeDir, e.name+"/"
	case fs.ModeSymlink:
		target, err := os.Readlink(e.place)
		if err != nil {
			return p.unread(err)
		}
		header.Typeflag, header.Linkname = tar.TypeSymlink, target
	case fs.ModeNamedPipe:
		header.Typeflag = tar.TypeFifo
	case 0:
		return p.addFile(e, st, header)
	default:
		return nil // As tar ignores sockets.
	}
	return p.out.WriteHeader(header)
}

func (p *packer) addFile(e entry, st *syscall.Stat_t, header *tar.Header) error {
	file, _, err := openFile(e.place, os.O_RDONLY|syscall.O_NOFOLLOW)
	if err != nil {
		return p.unread(err)
	}
	defer file.Close()
	key := [2]uint64{uint64(st.Dev), st.Ino}
	if first, known := p.names[key]; known {
		header.Typeflag, header.Linkname = tar.TypeLink, first
		return p.out.WriteHeader(header)
	}
	if st.Nlink > 1 && p.s.share(len(e.name)+rememberedBytes) {
		p.names[key] = e.name
	}
	header.Typeflag, header.Size = tar.TypeReg, st.Size
	if err := p.out.WriteHeader(header); err != nil {
		return err
	}
	// Exactly the bytes that the header promises: the file may change meanwhile.
	_, err = io.CopyN(p.out, io.MultiReader(file, zeros{}), st.Size)
	return err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func unpackArchive(s *stream, r *request, _ identity) (any, error) {
	if err := os.MkdirAll(string(r.Path), 0o755); err != nil {
		return nil, err
	}
	dir, err := openDirectory(string(r.Path), 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	sweep(dir)
	s.grow(transferCredit)
	u := &unpacker{s: s, dir: dir}
	if err := u.unpack(&input{s: s}); err != nil {
		return nil, err
	}
	return map[string]int64{"entries": u.entries, "bytes": u.bytes}, nil
}

// moveAcross moves an entry to another file system: as an archive, of which it removes the original.
func (s *stream) moveAcross(from string, toDir *os.File, base string, user identity) error {
	// As rename(2) replaces an empty directory.
	if err := syscall.Rmdir(within(toDir, base)); err == syscall.ENOTEMPTY {
		return err
	}
	reads, writes := io.Pipe()
	go user.as(func() error {
		writes.CloseWithError(pack(s, writes, entry{name: base, place: from}))
		return nil
	})
	defer reads.Close()
	u := &unpacker{s: s, dir: toDir, isMove: true}
	if err := u.unpack(reads); err != nil {
		return err
	}
	return removeAll(from, nil, 0)
}

// unpacker makes an archive's entries in a directory that others cannot enter, and then moves them to their places.
type unpacker struct {
	s           *stream
	dir         *os.File
	isMove      bool   // Keeps owners, and links to anywhere.
	aside       string // The path of the directory beside, with a slash.
	made        string // The path below aside that is known to be of directories.
	directories map[string]*tar.Header
	entries     int64
	bytes       int64
}

func (u *unpacker) unpack(from io.Reader) error {
	u.directories = map[string]*tar.Header{}
	place := within(u.dir, unfinishedName(unpackPrefix))
	if err := os.Mkdir(place, 0o700); err != nil {
		return err
	}
	defer removeAll(place, nil, 0)
	u.aside = place + "/"
	for archive := tar.NewReader(from); ; {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return malformed(err)
		}
		if err := u.add(header, archive); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, from); err != nil { // The padding behind the archive's end.
		return err
	}
	aside, err := openInner(place)
	if err != nil {
		return err
	}
	defer aside.Close()
	return u.merge(aside, u.dir, "")
}

// malformed is the error of an archive that cannot be read, if its stream has not failed.
func malformed(err error) error {
	var own failure
	if errors.As(err, &own) {
		return err
	}
	return fail("invalid_parameters", "the archive is malformed: %v", err)
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

// stays tells whether a link leads to a place below the directory. Behind another name, `..` may lead anywhere.
func stays(name, target string) bool {
	depth := strings.Count(name, "/")
	rest := strings.Split(target, "/")
	for len(rest) > 0 && (rest[0] == ".." || rest[0] == "." || rest[0] == "") {
		if rest[0] == ".." {
			depth--
		}
		rest = rest[1:]
	}
	return depth >= 0 && !strings.HasPrefix(target, "/") && !slices.Contains(rest, "..")
}

// makeDirectories makes what is missing of a path; it refuses what is no directory.
func (u *unpacker) makeDirectories(name string) error {
	for i := range name {
		if name[i] != '/' || strings.HasPrefix(u.made, name[:i+1]) {
			continue
		}
		os.Mkdir(u.aside+name[:i], 0o755)
		if info, err := os.Lstat(u.aside + name[:i]); err != nil {
			return err
		} else if !info.IsDir() {
			return errLeaves
		}
		u.made = name[:i+1]
	}
	return nil
}

// add makes one entry, in place of an earlier one of its name.
func (u *unpacker) add(header *tar.Header, content io.Reader) error {
	name, err := localName(header.Name)
	if err != nil || name == "" {
		return err
	}
	isDirectory := header.Typeflag == tar.TypeDir
	if isDirectory {
		name += "/"
	}
	if err := u.makeDirectories(name); err != nil {
		return err
	}
	place := u.aside + name
	if !isDirectory {
		syscall.Unlink(place)
	}
	u.entries++
	switch header.Typeflag {
	case tar.TypeReg:
		file, err := os.OpenFile(place, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer file.Close()
		n, err := io.Copy(file, content)
		if err == io.ErrUnexpectedEOF {
			return malformed(err)
		}
		if err != nil {
			return err
		}
		u.bytes += n
		return u.describe(place, header)
	case tar.TypeDir:
		if u.s.share(len(name) + rememberedBytes) {
			u.directories[name] = &tar.Header{Mode: header.Mode, Uid: header.Uid, Gid: header.Gid, ModTime: header.ModTime}
		}
		return nil
	case tar.TypeSymlink:
		if !u.isMove && !stays(name, header.Linkname) {
			return errLeaves
		}
		err := os.Symlink(header.Linkname, place)
		if err == nil && u.isMove && os.Geteuid() == 0 {
			err = os.Lchown(place, header.Uid, header.Gid)
		}
		return err
	case tar.TypeLink:
		target, err := localName(header.Linkname)
		if err != nil {
			return err
		}
		return os.Link(u.aside+target, place)
	}
	return fail("invalid_parameters", "an entry is no file, directory or link")
}

// describe gives a new file or directory its owner, mode and time.
func (u *unpacker) describe(place string, header *tar.Header) error {
	mode := uint32(header.Mode & 0o7777)
	if os.Geteuid() != 0 {
		mode &= 0o755
	} else if u.isMove {
		if err := os.Chown(place, header.Uid, header.Gid); err != nil {
			return err
		}
	}
	if err := syscall.Chmod(place, mode); err != nil {
		return err
	}
	return os.Chtimes(place, header.ModTime, header.ModTime)
}

// merge moves the entries of a complete directory to their places: files replace files, directories are merged.
func (u *unpacker) merge(from, to *os.File, below string) error {
	return eachEntry(from, func(e entry) error {
		target := within(to, e.base)
		there, err := os.Lstat(target)
		if err == nil && there.IsDir() != e.info.IsDir() {
			return syscall.EEXIST
		}
		if !e.info.IsDir() {
			return syscall.Rename(e.place, target)
		}
		os.Mkdir(target, 0o755)
		source, err := openInner(e.place)
		if err != nil {
			return err
		}
		defer source.Close()
		merged, err := openInner(target)
		if err != nil {
			return err
		}
		defer merged.Close()
		name := below + e.base + "/"
		if err := u.merge(source, merged, name); err != nil {
			return err
		}
		if header := u.directories[name]; header != nil {
			return u.describe(within(merged, "."), header)
		}
		return nil
	}, func(err error) error { return err })
}
