package main

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// place makes an empty directory inside, and returns its path.
func (c *client) place() string {
	c.t.Helper()
	dir := fmt.Sprintf("/tmp/place-%s", newID())
	if o := c.sh("umask 0; mkdir -m 0777 "+dir, nil).wait(); exitCode(o) != 0.0 {
		c.t.Fatal(o)
	}
	c.t.Cleanup(func() { dial(c.t).sh("chmod -R u+rwx "+dir+"; rm -rf "+dir, nil).wait() })
	return dir
}

func (c *client) run(script string) string {
	c.t.Helper()
	o := c.sh(script, nil).wait()
	return string(o.data) + string(o.errors)
}

func bytesOf(value any) string {
	text, _ := value.(string)
	raw, _ := base64.StdEncoding.DecodeString(text)
	return string(raw)
}

func (c *client) expect(what, code string, o outcome) outcome {
	c.t.Helper()
	if o.code != code {
		c.t.Errorf("%s: %q instead of %q", what, o.code, code)
	}
	return o
}

func TestReadAndWrite(t *testing.T) {
	c := dial(t)
	dir := c.place()
	file := dir + "/new/dir/file"
	o := c.open("write", fields{"path": file, "user": "1000:1000", "length": 5}).data("hel").data("lo").end().wait()
	state, _ := o.result["state"].(fields)
	if o.result["became"] != "created" || o.result["at"] != "file" || state["size"] != 5.0 || state["uid"] != 1000.0 ||
		state["mode"] != float64(0o100644) {
		t.Fatal(o.code, o.result)
	}
	c.run("chmod 4750 " + file)
	o = c.open("write", fields{"path": file}).data("longer text").end().wait()
	state, _ = o.result["state"].(fields)
	if o.result["became"] != "replaced" || state["uid"] != 1000.0 || state["mode"] != float64(0o104750) {
		t.Error(o.code, o.result)
	}
	o = c.open("read", fields{"path": file, "inline": 100}).wait()
	if string(o.data) != "longer text" || o.messages[0]["state"].(fields)["version"] != state["version"] {
		t.Errorf("%q %v", o.data, o.messages)
	}
	a := c.open("read", fields{"path": file})
	a.message()
	if o := a.say(fields{"offset": 2, "length": 3}).wait(); string(o.data) != "nge" {
		t.Errorf("%q %v", o.data, o.code)
	}
	a = c.open("read", fields{"path": file})
	a.message()
	c.expect("beyond", "failed", a.say(fields{"offset": 5, "length": 30}).wait())
	a = c.open("read", fields{"path": "/proc/version", "inline": 100})
	a.message()
	if o := a.say(fields{"most": 5}).wait(); string(o.data) != "Linux" {
		t.Errorf("%q %v", o.data, o.code)
	}
	c.expect("shorter", "failed", c.open("write", fields{"path": file, "length": 9}).data("x").end().wait())
	c.expect("longer", "failed", c.open("write", fields{"path": file, "length": 1}).data("xx").end().wait())
	c.open("write", fields{"path": file}).data("half").cancel().wait()
	if left := c.run("ls -A " + dir + "/new/dir"); left != "file\n" {
		t.Errorf("left %q", left)
	}
	c.run("mkdir " + dir + "/left; cd " + dir + "/left; touch -t 202001010000 .berth-upload-012345678901234567890123456789012345 .berth-upload-mine; mkdir .berth-unpacking-012345678901234567890123456789012345")
	c.open("write", fields{"path": dir + "/left/file"}).end().wait()
	if left := c.run("ls -A " + dir + "/left"); left != ".berth-unpacking-012345678901234567890123456789012345\n.berth-upload-mine\nfile\n" {
		t.Errorf("left %q", left)
	}
	o = c.open("write", fields{"path": dir, "name": []byte("in\xffside")}).data("x").end().wait()
	if o.result["at"] != "directory" {
		t.Error(o.code, o.result)
	}
	c.run("ln -s relative " + dir + "/link; ln -s /etc/passwd " + dir + "/passwd; mkfifo " + dir + "/fifo")
	if o := c.open("write", fields{"path": dir + "/link"}).data("by link").end().wait(); o.code != "" {
		t.Error(o.code)
	}
	if text := c.run("cat " + dir + "/relative; readlink " + dir + "/link"); text != "by linkrelative\n" {
		t.Errorf("%q", text)
	}
	c.expect("denied", "path_denied", c.open("write", fields{"path": dir + "/passwd", "user": "1000"}).data("x").end().wait())
	c.expect("fifo", "path_not_file", c.open("write", fields{"path": dir + "/fifo"}).data("x").end().wait())
	c.expect("fifo", "path_not_file", c.open("read", fields{"path": dir + "/fifo"}).wait())
	c.expect("directory", "path_is_directory", c.open("write", fields{"path": dir}).data("x").end().wait())
	c.expect("directory", "path_is_directory", c.open("read", fields{"path": dir}).wait())
	c.expect("missing", "path_not_found", c.open("read", fields{"path": dir + "/none"}).wait())
	c.expect("below a file", "path_not_directory", c.open("read", fields{"path": file + "/x"}).wait())
	c.expect("secret", "path_denied", c.open("read", fields{"path": "/root/x", "user": "1000:1000"}).wait())
	c.expect("long", "invalid_parameters", c.open("write", fields{"path": dir + "/" + strings.Repeat("n", 300)}).end().wait())
	c.expect("relative", "invalid_request", c.open("read", fields{"path": "etc/passwd"}).wait())
	c.expect("memory", "path_denied", c.open("pwrite", fields{"path": "/proc/self/mem", "user": "1000"}).data("x").end().wait())
}

func TestLargeTransfer(t *testing.T) {
	c := dial(t)
	dir := c.place()
	const size = 3 << 20
	a := c.open("write", fields{"path": dir + "/large"})
	go func() {
		// By credit: what is granted is sent.
		credit, sent := creditToSupervisor, 0
		for sent < size {
			for credit == 0 {
				if f := a.next(); f.kind == frameCredit {
					credit += int(f.payload[1])<<16 | int(f.payload[2])<<8 | int(f.payload[3])
				}
			}
			n := min(credit, size-sent, 60000)
			a.data(strings.Repeat("y", n))
			sent, credit = sent+n, credit-n
		}
		a.end()
	}()
	eventually(t, "written", func() bool {
		return c.open("stat", fields{"path": dir + "/large"}).wait().result["size"] == float64(size)
	})
	a = c.open("read", fields{"path": dir + "/large"})
	a.message()
	if o := a.say(fields{"offset": 1, "length": size - 1}).wait(); len(o.data) != size-1 {
		t.Errorf("%d bytes, %s", len(o.data), o.code)
	}
}

func TestConditions(t *testing.T) {
	c := dial(t)
	dir := c.place()
	a := c.open("write", fields{"path": dir + "/file", "conditional": true})
	if m := a.message(); m["state"] != nil || m["at"] != "file" {
		t.Error(m)
	}
	if o := a.say(fields{"go": true}).data("one").end().wait(); o.code != "" {
		t.Error(o.code)
	}
	a = c.open("write", fields{"path": dir + "/file", "conditional": true})
	b := c.open("write", fields{"path": dir + "/file", "conditional": true})
	a.message()
	b.message()
	a.say(fields{"go": true})
	b.say(fields{"go": true})
	c.expect("first", "", a.data("two").end().wait())
	c.expect("second", "precondition_failed", b.data("three").end().wait())
	a = c.open("remove", fields{"path": dir + "/file", "conditional": true})
	a.message()
	c.expect("changed", "", c.open("write", fields{"path": dir + "/file"}).data("four").end().wait())
	c.expect("removed", "precondition_failed", a.say(fields{"go": true}).wait())
	a = c.open("remove", fields{"path": dir + "/file", "conditional": true})
	a.message()
	c.expect("removed", "", a.say(fields{"go": true}).wait())
	if text := c.run("ls -A " + dir); text != "" {
		t.Errorf("%q", text)
	}
}

func TestListMoveAndRemove(t *testing.T) {
	c := dial(t)
	dir := c.place()
	c.run("cd " + dir + "; mkdir d e; echo 1 > d/a; echo 22 > 'b\nc'; ln -s /etc l; echo x > .berth-upload-012345678901234567890123456789012345")
	o := c.open("list", fields{"path": dir}).wait()
	names := map[string]fields{}
	for _, row := range o.rows() {
		names[bytesOf(row["name"])] = row
	}
	if len(names) != 4 || names["b\nc"]["size"] != 3.0 || names["l"]["mode"].(float64) != float64(0o120777) {
		t.Errorf("%v", names)
	}
	c.expect("no directory", "path_not_directory", c.open("list", fields{"path": "/etc/passwd"}).wait())
	c.expect("exists", "path_exists", c.open("move", fields{"from": dir + "/d", "to": dir + "/e"}).wait())
	c.expect("into itself", "path_exists", c.open("move", fields{"from": dir + "/d", "to": dir + "/d/x"}).wait())
	c.expect("missing", "path_not_found", c.open("move", fields{"from": dir + "/none", "to": dir + "/x"}).wait())
	c.expect("no parent", "path_not_found", c.open("move", fields{"from": dir + "/d", "to": dir + "/p/q/d"}).wait())
	c.expect("moved", "", c.open("move", fields{"from": dir + "/d", "to": dir + "/p/q/d", "parents": true}).wait())
	c.expect("replaced", "", c.open("move", fields{"from": dir + "/p/q/d/a", "to": dir + "/l", "replace": true}).wait())
	c.expect("not empty", "directory_not_empty", c.open("remove", fields{"path": dir + "/p"}).wait())
	c.expect("a directory", "path_is_directory", c.open("remove", fields{"path": dir + "/p", "kind": "file"}).wait())
	c.expect("no directory", "path_not_directory", c.open("remove", fields{"path": dir + "/l", "kind": "directory"}).wait())
	c.run("ln -s /etc " + dir + "/p/q/etc")
	c.expect("removed", "", c.open("remove", fields{"path": dir + "/p", "recursive": true}).wait())
	if _, err := os.Stat(dataPath); err != nil && transport == "" {
		t.Skip("the rest is for a sandbox")
	}
	for _, path := range []string{"/", "/home", "/home/user", "/home/user/..", "/tmp/../home", "/home/user/"} {
		c.expect(path, "path_protected", c.open("remove", fields{"path": path, "recursive": true}).wait())
	}
	c.run("ln -s / " + dir + "/root")
	c.expect("by a link", "path_protected", c.open("move", fields{"from": dir + "/root/home", "to": dir + "/x"}).wait())
	c.expect("denied", "path_denied", c.open("remove", fields{"path": "/etc/passwd", "user": "1000"}).wait())
	// Another file system.
	c.run("cd " + dir + "; mkdir -p m/n; echo deep > m/n/f; ln m/n/f m/g; chmod 500 m/n; chown 1000 m/g; rm -rf /dev/shm/moved")
	c.expect("across", "", c.open("move", fields{"from": dir + "/m", "to": "/dev/shm/moved"}).wait())
	if text := c.run("cd /dev/shm/moved; cat n/f; stat -c '%a %u %h' n g; ls " + dir + " | grep -c .; rm -rf /dev/shm/moved"); text !=
		"deep\n500 0 2\n644 1000 2\n5\n" && text != "deep\n500 0 2\n644 1000 2\n4\n" {
		t.Errorf("%q", text)
	}
}

func TestDeepDirectoriesAreRemoved(t *testing.T) {
	c := dial(t)
	dir := c.place()
	c.run("cd " + dir + `; mkdir top; cd top; i=0; while [ $i -lt 700 ]; do mkdir -p d/e/f/g; touch d/x; cd d/e/f/g 2>/dev/null || break; i=$((i+4)); done`)
	c.expect("removed", "", c.open("remove", fields{"path": dir + "/top", "recursive": true}).wait())
	if text := c.run("ls -A " + dir); text != "" {
		t.Errorf("%q", text)
	}
}

func TestSFTP(t *testing.T) {
	c := dial(t)
	dir := c.place()
	file := dir + "/f"
	c.expect("create", "", c.open("create", fields{"path": file, "existing": "refuse", "mode": 0o640}).wait())
	c.expect("again", "path_exists", c.open("create", fields{"path": file, "existing": "refuse"}).wait())
	o := c.open("pwrite", fields{"path": file, "offset": 3}).data("abc").end().wait()
	if o.result["bytes"] != 3.0 {
		t.Error(o.code, o.result)
	}
	if o := c.open("pread", fields{"path": file, "offset": 2, "length": 100}).wait(); string(o.data) != "\x00abc" {
		t.Errorf("%q", o.data)
	}
	c.expect("truncate", "", c.open("truncate", fields{"path": file, "size": 4}).wait())
	c.expect("change", "", c.open("change", fields{"path": file, "mode": 0o600, "uid": 1000, "gid": 1000, "atime": 1, "mtime": 2}).wait())
	s := c.open("stat", fields{"path": file}).wait().result
	if s["size"] != 4.0 || s["mode"] != float64(0o100600) || s["uid"] != 1000.0 || s["mtime"] != 2.0 || s["atime"] != 1.0 {
		t.Error(s)
	}
	c.expect("link", "", c.open("link", fields{"path": dir + "/s", "target": "f", "kind": "symbolic"}).wait())
	c.expect("link", "", c.open("link", fields{"path": dir + "/h", "target": file, "kind": "hard"}).wait())
	c.expect("link", "path_exists", c.open("link", fields{"path": dir + "/h", "target": file, "kind": "hard"}).wait())
	if o := c.open("readlink", fields{"path": dir + "/s"}).wait(); bytesOf(o.result["target"]) != "f" {
		t.Error(o.result)
	}
	if o := c.open("resolve", fields{"path": dir + "/s"}).wait(); bytesOf(o.result["path"]) != file {
		t.Errorf("%q", bytesOf(o.result["path"]))
	}
	if o := c.open("resolve", fields{"path": dir + "/../" + dir[5:] + "/new"}).wait(); bytesOf(o.result["path"]) != dir+"/new" {
		t.Errorf("%q", bytesOf(o.result["path"]))
	}
	if s := c.open("stat", fields{"path": dir + "/s", "follow": false}).wait().result; s["mode"] != float64(0o120777) {
		t.Error(s)
	}
	c.expect("mkdir", "", c.open("mkdir", fields{"path": dir + "/d", "mode": 0o1777}).wait())
	c.expect("mkdir", "path_exists", c.open("mkdir", fields{"path": dir + "/d"}).wait())
	c.expect("mkdir", "path_not_found", c.open("mkdir", fields{"path": dir + "/x/y"}).wait())
	c.expect("mkdir", "", c.open("mkdir", fields{"path": dir + "/x/y", "parents": true}).wait())
	if s := c.open("space", fields{"path": dir}).wait().result; s["blocks"].(float64) <= 0 {
		t.Error(s)
	}
	if s := c.open("stat", fields{"path": dir + "/d"}).wait().result; s["mode"] != float64(0o41777) {
		t.Error(s)
	}
}

func archiveOf(headers ...*tar.Header) string {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, h := range headers {
		content := h.Uname
		h.Uname, h.Size = "", int64(len(content))
		w.WriteHeader(h)
		w.Write([]byte(content))
	}
	w.Close()
	return buffer.String()
}

func TestArchives(t *testing.T) {
	c := dial(t)
	dir := c.place()
	when := time.Unix(1_600_000_000, 0)
	sent := archiveOf(
		&tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		&tar.Header{Name: "./d/", Typeflag: tar.TypeDir, Mode: 0o555, ModTime: when},
		&tar.Header{Name: "d/f", Uname: "content", Mode: 0o640, ModTime: when},
		&tar.Header{Name: "d/h", Typeflag: tar.TypeLink, Linkname: "./d/f"},
		&tar.Header{Name: "d/s", Typeflag: tar.TypeSymlink, Linkname: "./../d/f"},
		&tar.Header{Name: strings.Repeat("long/", 40) + "f", Uname: "far", Mode: 0o644},
	)
	c.run("mkdir -p " + dir + "/in/d; echo old > " + dir + "/in/d/f; echo keep > " + dir + "/in/d/keep; chown -R 1000 " + dir + "/in")
	o := c.open("unpack", fields{"path": dir + "/in", "user": "1000:1000"}).data(sent).end().wait()
	if o.result["entries"] != 5.0 || o.result["bytes"] != 10.0 {
		t.Error(o.code, o.result)
	}
	text := c.run("cd " + dir + "/in; cat d/f d/h d/keep " + strings.Repeat("long/", 40) + "f; stat -c '%a %u %Y' d d/f; readlink d/s; ls -A")
	if text != "contentcontentkeep\nfar555 1000 1600000000\n640 1000 1600000000\n./../d/f\nd\nlong\n" {
		t.Errorf("%q", text)
	}
	o = c.open("pack", fields{"path": dir + "/in"}).wait()
	found := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(o.data)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		found[h.Name] = string(h.Typeflag) + h.Linkname
	}
	if len(found) != 47 || found["./d/"] != "5" || found["./d/s"] != "2./../d/f" || found["./d/f"]+found["./d/h"] != "01./d/f" &&
		found["./d/f"]+found["./d/h"] != "1./d/h0" {
		t.Error(len(found))
	}
	c.run("chmod 000 " + dir + "/in/d/keep")
	c.expect("lacking", "path_denied", c.open("pack", fields{"path": dir + "/in", "user": "1000:1000"}).wait())
	for what, bad := range map[string]string{
		"absolute":  archiveOf(&tar.Header{Name: "/etc/x", Uname: "x"}),
		"parent":    archiveOf(&tar.Header{Name: "a/../../x", Uname: "x"}),
		"by a link": archiveOf(&tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "."}, &tar.Header{Name: "l/x", Uname: "x"}),
		"hard link": archiveOf(&tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}),
		"out":       archiveOf(&tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}),
		"above":     archiveOf(&tar.Header{Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "../.."}),
		"behind":    archiveOf(&tar.Header{Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "x/../../.."}),
		"no tar":    strings.Repeat("x", 1024),
		"cut off":   archiveOf(&tar.Header{Name: "f", Uname: strings.Repeat("x", 5000)})[:4096],
		"device":    archiveOf(&tar.Header{Name: "d", Typeflag: tar.TypeChar}),
	} {
		o := c.open("unpack", fields{"path": dir + "/out"}).data(archiveOf(&tar.Header{Name: "first", Uname: "x"})[:1024]).data(bad).end().wait()
		c.expect(what, "invalid_parameters", o)
	}
	c.expect("cut off", "invalid_parameters", c.open("unpack", fields{"path": dir + "/out"}).data(sent[:1200]).end().wait())
	c.expect("cancelled", "cancelled", c.open("unpack", fields{"path": dir + "/out"}).data(sent[:1200]).cancel().wait())
	if text := c.run("ls -A " + dir + "/out"); text != "" {
		t.Errorf("left %q", text)
	}
	c.run("mkdir -p " + dir + "/out/d/s")
	c.expect("a directory there", "path_exists", c.open("unpack", fields{"path": dir + "/out"}).data(sent).end().wait())
}

func TestRenameByLink(t *testing.T) {
	c := dial(t)
	if transport != "" {
		t.Skip("in this process only")
	}
	dir := c.place()
	c.run("cd " + dir + "; mkdir full there; touch full/f there/t file other; ln -s full link")
	for _, from := range []string{"full", "file", "link"} {
		for _, to := range []string{"there", "other"} {
			if err := renameByLink(dir+"/"+from, dir+"/"+to); err == nil {
				t.Error(from, to)
			}
		}
		if err := renameByLink(dir+"/"+from, dir+"/new-"+from); err != nil {
			t.Error(from, err)
		}
	}
	if err := renameByLink(dir+"/new-full", dir+"/new-full/x"); err != syscall.EINVAL {
		t.Error(err)
	}
	text := c.run("cd " + dir + "; ls -A . new-full; readlink new-link")
	if text != ".:\nnew-file\nnew-full\nnew-link\nother\nthere\n\nnew-full:\nf\nfull\n" {
		t.Errorf("%q", text)
	}
}

func TestSearchAndUsage(t *testing.T) {
	c := dial(t)
	dir := c.place()
	c.run("cd " + dir + "; mkdir -p a/b; printf 'one\\ntwo needle\\nthree needle' > a/b/Found.txt; head -c 100000 /dev/zero > a/zero; ln -s /etc l")
	o := c.open("search", fields{"path": dir, "content": "needle"}).wait()
	found := o.rows()
	if len(found) != 2 || bytesOf(found[1]["path"]) != "a/b/Found.txt" || found[1]["line"] != 3.0 || bytesOf(found[0]["text"]) != "two needle" {
		t.Errorf("%s %v", o.code, found)
	}
	for pattern, count := range map[string]int{"found": 1, "*.TXT": 1, "txt": 1, "*": 5, "?": 3, "passwd": 0} {
		if o := c.open("search", fields{"path": dir, "pattern": pattern}).wait(); len(o.rows()) != count || o.result["complete"] != true {
			t.Errorf("%s: %s", pattern, o.data)
		}
	}
	if o := c.open("search", fields{"path": dir, "pattern": "*", "limit": 2}).wait(); len(o.rows()) != 2 || o.result["complete"] != false {
		t.Errorf("%s", o.data)
	}
	c.run("cd " + dir + "; n=$(printf %0250d 0); p=$n; for i in 1 2 3 4 5 6 7 8; do p=$p/$n; done; mkdir -p d/$p e/$p; echo >e/$p/deep; mv e d/$p")
	if rows := c.open("search", fields{"path": dir, "pattern": "deep"}).wait().rows(); len(rows) != 0 {
		t.Errorf("a path that no request can name: %d bytes", len(bytesOf(rows[0]["path"])))
	}
	c.expect("nothing", "invalid_request", c.open("search", fields{"path": dir}).wait())
	if o := c.open("usage", fields{"path": dir}).wait(); o.result["bytes"].(float64) < 100000 || o.result["files"] != 4.0 || o.result["directories"] != 22.0 {
		t.Error(o.result)
	}
}

func TestPorts(t *testing.T) {
	c := dial(t)
	c.expect("closed", "port_closed", c.open("connect", fields{"port": 45998}).wait())
	if _, err := exec.LookPath("nc"); err != nil && transport == "" {
		t.Skip("no nc")
	}
	server := c.sh("nc -l -p 45999 -e /bin/cat", nil)
	listening := func() bool { return strings.Contains(string(c.open("ports", nil).wait().data), `"port":45999`) }
	eventually(t, "it listens", listening)
	o := c.open("connect", fields{"port": 45999}).data("echo").end().wait()
	if string(o.data) != "echo" || o.code != "" {
		t.Errorf("%q %s", o.data, o.code)
	}
	server.wait()
}
