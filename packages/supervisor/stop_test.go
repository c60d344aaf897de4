package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestStop runs last, as the sandbox is gone after it; the variable is the command that stops it.
func TestStop(t *testing.T) {
	stop := strings.Fields(os.Getenv("BERTH_SUPERVISOR_STOP"))
	if len(stop) == 0 {
		t.Skip("only in a container")
	}
	c := dial(t)
	a := c.sh("trap 'echo bye; exit 5' TERM; echo x; while :; do sleep 0.1; done", nil)
	shell := c.open("start", fields{"id": newID(), "argv": []string{"/bin/sh"}, "tty": fields{"columns": 80, "rows": 25}})
	a.text()
	shell.text()
	// A bridge that is killed ends its connection.
	other := dial(t)
	other.run("true")
	c.run(`newest=0
for file in $(grep -al '[c]onnect' /proc/[0-9]*/cmdline); do
  pid=${file#/proc/}; pid=${pid%/cmdline}; [ $pid -lt $newest ] || newest=$pid
done
kill -9 $newest`)
	if _, open := <-other.bye; open {
		t.Error("the connection goes on")
	}
	begin := time.Now()
	go exec.Command(stop[0], stop[1:]...).Run()
	if o := a.wait(); string(o.data) != "bye\n" || exitCode(o) != 5.0 || o.result["stopped"] != true {
		t.Errorf("%q %v", o.data, o.result)
	}
	if o := shell.wait(); exitCode(o) != "signal 1" && exitCode(o) != 129.0 {
		t.Errorf("%v", o.result)
	}
	if f, open := <-c.bye; !open || !strings.Contains(string(f.payload), "shutting_down") {
		t.Errorf("%s", f.payload)
	}
	t.Logf("stopped in %v", time.Since(begin))
}
