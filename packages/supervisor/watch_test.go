package main

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// changes are what a watch tells.
type changes struct {
	*answer
	seen []string
}

func (c *client) watch(dir string, recursive bool) *changes {
	c.t.Helper()
	a := c.open("watch", fields{"path": dir, "recursive": recursive, "user": "0"})
	a.message()
	return &changes{answer: a}
}

// until reads until the change is told, and returns all that was told since the call before, a line each.
func (w *changes) until(last string) string {
	w.c.t.Helper()
	for {
		for i, each := range w.seen {
			if each == last {
				told := strings.Join(w.seen[:i+1], "\n")
				w.seen = w.seen[i+1:]
				return told
			}
		}
		f := w.next()
		if f.kind != frameData {
			w.c.t.Fatalf("%#x %s before %q; %q", f.kind, f.payload, last, w.seen)
		}
		for _, row := range (outcome{data: f.payload}).rows() {
			w.seen = append(w.seen, strings.TrimSpace(row["change"].(string)+" "+bytesOf(row["path"])))
		}
		w.c.send(frameCredit, w.id, binary.BigEndian.AppendUint32(nil, uint32(len(f.payload))))
	}
}

// expectTold compares what is told until the last of the lines with all of them.
func (w *changes) expectTold(lines ...string) {
	w.c.t.Helper()
	if told := w.until(lines[len(lines)-1]); told != strings.Join(lines, "\n") {
		w.c.t.Errorf("%q instead of %q", told, lines)
	}
}

func TestWatchTellsEachKindOfChange(t *testing.T) {
	c := dial(t)
	dir := c.place()
	c.run("mkdir " + dir + "/below; touch " + dir + "/there")
	w := c.watch(dir, false)
	c.run("echo x > " + dir + "/f")
	w.expectTold("created f", "written f")
	c.run("chmod 600 " + dir + "/f")
	w.expectTold("attributes f")
	c.run("mv " + dir + "/f " + dir + "/g; rm " + dir + "/g")
	w.expectTold("renamed f", "created g", "removed g")
	c.open("write", fields{"path": dir + "/there"}).data("new").end().wait()
	if told := w.until("written there"); strings.Contains(told, uploadPrefix) {
		t.Errorf("%q", told)
	}
	c.run("touch " + dir + "/below/unseen; cd " + dir + "; mkdir $(printf 'in\\377side')")
	if told := w.until("created in\xffside"); strings.Contains(told, "unseen") {
		t.Errorf("%q", told)
	}
	c.expect("watch", "cancelled", w.cancel().wait())
	c.expect("file", "path_not_directory", c.open("watch", fields{"path": dir + "/there"}).wait())
	c.expect("missing", "path_not_found", c.open("watch", fields{"path": dir + "/none"}).wait())
	c.run("mkdir -m 700 " + dir + "/secret")
	c.expect("secret", "path_denied", c.open("watch", fields{"path": dir + "/secret", "user": "1000:1000"}).wait())
}

func TestWatchFollowsDirectoriesAsTheyComeAndGo(t *testing.T) {
	c := dial(t)
	dir, outside := c.place(), c.place()
	c.run("cd " + dir + "; mkdir -p a/b; ln -s " + outside + " link; mkdir " + outside + "/o")
	w := c.watch(dir, true)
	c.run("cd " + dir + "; echo x > a/b/f")
	w.expectTold("created a/b/f", "written a/b/f")
	// What is made before the new directory is watched is told, too.
	c.run("cd " + dir + "; mkdir -p n/m; echo x > n/m/early")
	told := w.until("created n/m/early")
	for _, part := range []string{"created n", "created n/m"} {
		if !strings.Contains("\n"+told+"\n", "\n"+part+"\n") {
			t.Errorf("%q is missing in %q", part, told)
		}
	}
	c.run("echo x > " + dir + "/n/m/late")
	w.until("written n/m/late")
	c.run("mv " + dir + "/n " + dir + "/a/moved")
	w.until("created a/moved")
	c.run("echo x > " + dir + "/a/moved/m/again")
	w.until("created a/moved/m/again")
	c.run("mv " + dir + "/a/moved " + outside + "/moved")
	w.until("renamed a/moved")
	c.run("echo x > " + outside + "/moved/m/unseen; echo x > " + dir + "/link/unseen; mkdir " + dir + "/end")
	if told := w.until("created end"); strings.Contains(told, "unseen") {
		t.Errorf("%q", told)
	}
	c.run("rm -r " + dir + "/a; mkdir " + dir + "/a; touch " + dir + "/a/new")
	w.until("removed a")
	w.until("created a/new")
	w.cancel().wait()
	if n := watched.n.Load(); transport == "" && n != 0 {
		t.Errorf("%d directories are still counted", n)
	}
}

func TestWatchTellsManyChanges(t *testing.T) {
	c := dial(t)
	dir := c.place()
	w := c.watch(dir, false)
	for round := range 10 {
		first, last := round*100+1, round*100+100
		c.run(fmt.Sprintf("cd %s; for i in $(seq %d %d); do echo x > f$i; done", dir, first, last))
		told := w.until(fmt.Sprintf("written f%d", last))
		for i := first; i <= last; i++ {
			if !strings.Contains(told, fmt.Sprintf("created f%d\n", i)) {
				t.Errorf("f%d is missing", i)
			}
		}
	}
}

func TestWatchEndsWithItsDirectory(t *testing.T) {
	c := dial(t)
	for what, script := range map[string]string{"removed": "rm -r %[1]s/top", "moved": "mv %[1]s/top %[1]s/other"} {
		dir := c.place()
		c.run("mkdir -p " + dir + "/top/below")
		w := c.watch(dir+"/top", true)
		c.run(fmt.Sprintf(script, dir))
		if o := w.wait(); o.result == nil {
			t.Errorf("%s: %s", what, o.code)
		}
	}
}

func TestWatchTellsOfOverflow(t *testing.T) {
	c := dial(t)
	dir := c.place()
	// None of this is read: the client's credit ends, and then the room for what waits.
	w := c.watch(dir, true)
	name := strings.Repeat("n", 200)
	c.run("cd " + dir + "; for i in $(seq 1500); do : > " + name + "$i; done; mkdir -p new/dir")
	w.until("overflow")
	// A directory that was not told of is watched all the same.
	c.run("touch " + dir + "/new/dir/after")
	w.until("created new/dir/after")
}

func TestWatchIsBounded(t *testing.T) {
	c := dial(t)
	dir := c.place()
	c.run(fmt.Sprintf("cd %s; seq %d | xargs mkdir", dir, mostWatched))
	c.expect("directories", "too_many", c.open("watch", fields{"path": dir, "recursive": true}).wait())
	all := make([]*changes, mostWatches)
	for i := range all {
		all[i] = c.watch(dir, false)
	}
	c.expect("streams", "too_many", c.open("watch", fields{"path": dir}).wait())
	for _, each := range all {
		each.cancel().wait()
	}
	c.watch(dir, false).cancel().wait()
}
