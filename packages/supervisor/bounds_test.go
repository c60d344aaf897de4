package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// memory is the most memory that the supervisor has had, in KiB.
func (c *client) memory() int {
	c.t.Helper()
	pid := 1
	if transport == "" {
		pid = os.Getpid()
	}
	o := c.sh(fmt.Sprintf("grep VmRSS /proc/%d/status", pid), nil).wait()
	words := strings.Fields(string(o.data))
	if len(words) < 2 {
		c.t.Fatalf("%q", o.data)
	}
	n, _ := strconv.Atoi(words[1])
	return n
}

func TestMemoryIsBoundedWhateverProgramsWrite(t *testing.T) {
	c := dial(t)
	before := c.memory()
	ids := []string{}
	for range 60 {
		id := newID()
		ids = append(ids, id)
		c.sh("head -c 3000000 /dev/zero; sleep 1000", fields{"id": id, "kept": true}).cancel().wait()
	}
	eventually(t, "all have written", func() bool {
		done := 0
		for _, row := range c.open("programs", nil).wait().rows() {
			if row["to"] == 3000000.0 {
				done++
			}
		}
		return done == len(ids)
	})
	after := c.memory()
	t.Logf("%d KiB, then %d KiB", before, after)
	if after-before > 32<<10 && transport != "" {
		t.Errorf("the supervisor grew by %d KiB", after-before)
	}
	for _, id := range ids {
		c.open("end", fields{"id": id, "signal": "KILL"})
	}
	for _, id := range ids {
		eventually(t, "it ends", func() bool { return c.open("forget", fields{"id": id}).wait().code != "program_running" })
	}
	t.Logf("%d KiB in the end", c.memory())
}

func TestAClientThatDoesNotReadHoldsUpNoOther(t *testing.T) {
	idle, c := dial(t), dial(t)
	c.run("head -c 2000000 /dev/zero > /tmp/zeros")
	for range 200 {
		a := idle.open("pread", fields{"path": "/tmp/zeros", "offset": 0, "length": 2000000})
		idle.send(frameCredit, a.id, []byte{0, 32, 0, 0})
		a.frames = make(chan frame) // Not read, so that the connection's reader waits.
		idle.mu.Lock()
		idle.streams[a.id] = a
		idle.mu.Unlock()
	}
	begin := time.Now()
	if text := c.run("echo works"); text != "works\n" {
		t.Errorf("%q", text)
	}
	t.Logf("%v, %d KiB", time.Since(begin), c.memory())
}

func TestAttachedProgramsEndAfterTheirConnection(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 12 s")
	}
	c := dial(t)
	lost, saved, kept := newID(), newID(), newID()
	for _, id := range []string{lost, saved, kept} {
		c.sh("trap '' HUP; echo x; sleep 1000", fields{"id": id, "kept": id == kept}).message()
	}
	c.close()
	c = dial(t)
	a := c.open("attach", fields{"id": saved})
	a.text()
	eventually(t, "the attached one ends", func() bool {
		o := c.open("programs", nil).wait()
		return !strings.Contains(string(o.data), lost)
	})
	o := string(c.open("programs", nil).wait().data)
	if !strings.Contains(o, saved) || !strings.Contains(o, kept) {
		t.Errorf("%s", o)
	}
	if text := c.run("grep -l " + lost + " /proc/[0-9]*/environ 2>/dev/null"); text != "" {
		t.Errorf("left: %q", text)
	}
	for _, id := range []string{saved, kept} {
		c.open("end", fields{"id": id, "signal": "KILL"}).wait()
	}
	c.open("forget", fields{"id": kept}).wait()
}

func TestOrphansAreReaped(t *testing.T) {
	c := dial(t)
	c.run("i=0; while [ $i -lt 200 ]; do (sleep 0 &); i=$((i+1)); done")
	eventually(t, "no zombies", func() bool {
		return c.run("cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z 1 '") == "0\n" || transport == ""
	})
}
