package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func exitCode(o outcome) any {
	exit, _ := o.result["exit"].(fields)
	if exit == nil {
		return nil
	}
	if code, has := exit["code"]; has {
		return code
	}
	return fmt.Sprint("signal ", exit["signal"])
}

func TestCommand(t *testing.T) {
	c := dial(t)
	o := c.sh("echo out; echo err >&2; echo more > /dev/stderr; exit 7", nil).wait()
	if string(o.data) != "out\n" || string(o.errors) != "err\nmore\n" || exitCode(o) != 7.0 || o.result["offset"] != 13.0 {
		t.Fatalf("%q %q %v %v", o.data, o.errors, o.result, o.code)
	}
}

func TestCommandsThatDoNotStart(t *testing.T) {
	c := dial(t)
	for _, each := range []struct {
		reason string
		more   fields
	}{
		{"not_found", fields{"argv": []string{"no-such-program"}}},
		{"not_found", fields{"argv": []string{"/no/such"}}},
		{"not_found", fields{"argv": []string{""}}},
		{"not_executable", fields{"argv": []string{"/etc/passwd"}}},
		{"not_executable", fields{"argv": []string{"/etc"}}},
		{"no_directory", fields{"cwd": "/no/such"}},
		{"no_directory", fields{"cwd": "/etc/passwd"}},
		{"no_directory", fields{"cwd": "/root", "user": "1000"}},
		{"no_user", fields{"user": "nobody-at-all"}},
		{"no_user", fields{"user": "0:no-group"}},
	} {
		if o := c.sh("true", each.more).wait(); o.code != "command_not_started" || o.reason != each.reason {
			t.Errorf("%v: %v %v", each, o.code, o.reason)
		}
	}
	if o := c.sh("true", fields{"id": "a b"}).wait(); o.code != "invalid_request" {
		t.Error(o.code)
	}
}

func TestEnvironmentAndUser(t *testing.T) {
	c := dial(t)
	env := fields{"A": "b c", "PATH": nil}
	o := c.sh(`echo "$A|$BERTH_SESSION|$PATH" ; id -u; id -g; umask; echo hi >/dev/stderr; ps -o pid,args >/dev/null 2>&1; pwd`,
		fields{"id": "env-test", "env": env, "user": "1000:1000", "cwd": "/tmp"}).wait()
	lines := strings.Split(string(o.data), "\n")
	if lines[0] != "b c|env-test|" && !strings.HasPrefix(lines[0], "b c|env-test|/") || lines[1] != "1000" ||
		lines[2] != "1000" || lines[3] != "0022" || lines[4] != "/tmp" || string(o.errors) != "hi\n" {
		t.Fatalf("%q %q", o.data, o.errors)
	}
}

func TestInput(t *testing.T) {
	c := dial(t)
	o := c.sh("cat; echo end", fields{"stdin": true}).data("some ").data("input\n").end().wait()
	if string(o.data) != "some input\nend\n" {
		t.Fatalf("%q %v", o.data, o.code)
	}
	if o := c.sh("cat; echo end", nil).wait(); string(o.data) != "end\n" {
		t.Fatalf("%q", o.data)
	}
	// More than a window, to a program that ends without reading.
	a := c.sh("exit 3", fields{"stdin": true}).data(strings.Repeat("x", creditToSupervisor))
	if o := a.wait(); exitCode(o) != 3.0 {
		t.Fatal(o)
	}
}

func TestTimeoutEndsAProgramWithoutItsReader(t *testing.T) {
	c := dial(t)
	id := newID()
	c.sh("sleep 1000 & sleep 1000", fields{"id": id, "kept": true, "timeout_ms": 300}).message()
	c.close()
	c = dial(t)
	if o := c.open("attach", fields{"id": id}).wait(); exitCode(o) != "signal 9" {
		t.Fatal(o.result)
	}
	if o := c.open("descendants", fields{"id": id}).wait(); len(o.result["names"].([]any)) != 0 {
		t.Error(o.result)
	}
	c.open("forget", fields{"id": id}).wait()
	if o := c.sh("sleep 0.2; exit 3", fields{"timeout_ms": 60_000}).wait(); exitCode(o) != 3.0 {
		t.Error(o.result)
	}
	c.expect("start", "invalid_request", c.sh("true", fields{"timeout_ms": -1}).wait())
}

func TestInputThatIsNotReadEndsWithItsStream(t *testing.T) {
	c := dial(t)
	id := newID()
	a := c.sh("read x; echo $x; sleep 1000", fields{"id": id, "kept": true, "stdin": true})
	a.message()
	for range 8 {
		b := c.open("attach", fields{"id": id, "input": true})
		b.message()
		b.data(strings.Repeat("x", creditToSupervisor)).data("").cancel()
		c.expect("attach", "cancelled", b.wait())
	}
	a.data("\n")
	for !strings.HasSuffix(a.text(), "\n") {
	}
	c.open("end", fields{"id": id}).wait()
	a.wait()
	c.open("forget", fields{"id": id}).wait()
}

func TestLargeOutputWaitsForItsReader(t *testing.T) {
	c := dial(t)
	const size = 5_000_000
	o := c.sh(fmt.Sprintf("head -c %d /dev/zero", size), nil).wait()
	if len(o.data) != size || o.lost != 0 {
		t.Fatalf("%d bytes, %d lost", len(o.data), o.lost)
	}
	// A reader without credit stops its own program and no other.
	id := newID()
	slow := c.sh("yes", fields{"id": id})
	if o := c.sh("echo quick", nil).wait(); string(o.data) != "quick\n" {
		t.Fatal("blocked by another stream")
	}
	sent := 0
	eventually(t, "all credit is spent", func() bool {
		for len(slow.frames) > 0 {
			if f := slow.next(); f.kind == frameStdout {
				sent += len(f.payload)
			}
		}
		return sent > creditToClient-2*outputHead
	})
	o = c.open("programs", nil).wait()
	for _, row := range o.rows() {
		if row["id"] == id && row["to"].(float64) > float64(creditToClient+mostBehind+leastRing) {
			t.Errorf("the program has written %v bytes without its reader", row["to"])
		}
	}
	if sent > creditToClient {
		t.Errorf("%d bytes sent", sent)
	}
	if o := c.open("end", fields{"id": id}).wait(); o.result["outcome"] != "ended" {
		t.Error(o)
	}
	c.send(frameCredit, slow.id, []byte{0, 1, 0, 0})
	if o := slow.wait(); exitCode(o) != "signal 15" {
		t.Error(o.result)
	}
}

func TestTerminal(t *testing.T) {
	c := dial(t)
	id := newID()
	a := c.sh(`tty; stty size; read x; stty size; echo "got $x"; trap 'echo winch' WINCH; read y`,
		fields{"id": id, "tty": fields{"columns": 80, "rows": 25}, "user": "1000"})
	a.message()
	text := ""
	for !strings.Contains(text, "25 80") {
		text += a.text()
	}
	if o := c.open("resize", fields{"id": id, "columns": 100, "rows": 30}).wait(); o.code != "" {
		t.Fatal(o.code)
	}
	a.data("word\r")
	for !strings.Contains(text, "got word") {
		text += a.text()
	}
	if !strings.Contains(text, "/dev/pts/") || !strings.Contains(text, "30 100") {
		t.Errorf("%q", text)
	}
	a.data("\x03")
	if o := a.wait(); exitCode(o) != "signal 2" && exitCode(o) != 130.0 {
		t.Error(o.result)
	}
}

func TestKeptProgramIsAttachedAgain(t *testing.T) {
	c := dial(t)
	id := newID()
	a := c.sh("echo one; read x; echo $x; sleep 0.2; echo three >&2", fields{"id": id, "kept": true, "stdin": true, "owner": "me"})
	a.message()
	for a.next().kind != frameStdout {
	}
	c.close()
	c = dial(t)
	o := c.open("programs", nil).wait()
	var row fields
	for _, each := range o.rows() {
		if each["id"] == id {
			row = each
		}
	}
	if row == nil || row["owner"] != "me" || row["exit"] != nil || row["kept"] != true || row["to"] != 4.0 {
		t.Fatalf("%v", row)
	}
	if o := c.open("attach", fields{"id": id, "follow": false}).wait(); string(o.data) != "one\n" || o.result["exit"] != nil {
		t.Errorf("%q %v", o.data, o.result)
	}
	if o := c.open("forget", fields{"id": id}).wait(); o.code != "program_running" {
		t.Error(o.code)
	}
	o = c.open("attach", fields{"id": id, "after": 4, "input": true}).data("two\n").wait()
	if string(o.data) != "two\n" || string(o.errors) != "three\n" || exitCode(o) != 0.0 || o.messages[0]["from"] != 4.0 {
		t.Errorf("%q %q %v", o.data, o.errors, o.result)
	}
	if o := c.open("attach", fields{"id": id}).wait(); string(o.data) != "one\ntwo\n" {
		t.Errorf("%q", o.data)
	}
	if o := c.open("attach", fields{"id": id, "after": 100}).wait(); o.code != "invalid_request" {
		t.Error(o.code)
	}
	c.open("forget", fields{"id": id}).wait()
	if o := c.open("attach", fields{"id": id}).wait(); o.code != "program_not_found" {
		t.Error(o.code)
	}
}

func TestReaderThatLeftIsNotCounted(t *testing.T) {
	c, id := dial(t), newID()
	started := c.sh("cat", fields{"id": id, "kept": true, "input": true})
	started.message()
	started.cancel()
	out := c.out
	for range 300 {
		attached := c.open("attach", fields{"id": id})
		attached.message()
		// Both frames arrive together.
		var both bytes.Buffer
		c.out = &both
		attached.cancel()
		listed := c.open("programs", fields{})
		c.out = out
		out.Write(both.Bytes())
		if left := listed.wait().rows()[0]["readers"]; left != 0.0 {
			t.Fatal("a reader whose CANCEL was sent before is counted")
		}
	}
	c.open("end", fields{"id": id}).wait()
}

func TestKeptProgramLosesOldOutputOnly(t *testing.T) {
	c := dial(t)
	id := newID()
	c.sh("head -c 300000 /dev/zero; echo end", fields{"id": id, "kept": true, "ring": 65536}).cancel().wait()
	eventually(t, "it ends", func() bool {
		return exitCode(c.open("attach", fields{"id": id, "follow": false}).wait()) == 0.0
	})
	o := c.open("attach", fields{"id": id}).wait()
	if o.offset != 300004 || !bytes.HasSuffix(o.data, []byte("end\n")) || len(o.data) < 32768 || len(o.data) > 65536 {
		t.Errorf("%d bytes up to %d", len(o.data), o.offset)
	}
	if o.messages[0]["from"].(float64)+float64(len(o.data)) != 300004 {
		t.Error(o.messages[0])
	}
	c.open("forget", fields{"id": id}).wait()
}

func TestSignalAndEndReachTheWholeTree(t *testing.T) {
	c := dial(t)
	id := newID()
	a := c.sh(`trap '' TERM; setsid sh -c 'trap "" TERM; sleep 1000 & wait; sleep 1001' & echo ready; sleep 1002`,
		fields{"id": id, "user": "1000:1000"})
	for a.next().kind != frameStdout {
	}
	eventually(t, "descendants", func() bool {
		names, _ := c.open("descendants", fields{"id": id}).wait().result["names"].([]any)
		return len(names) >= 2
	})
	o := c.open("end", fields{"id": id, "grace_ms": 100}).wait()
	if o.result["outcome"] != "ended" {
		t.Fatal(o.result, o.code)
	}
	if o := a.wait(); exitCode(o) != "signal 9" {
		t.Error(o.result)
	}
	if o := c.open("signal", fields{"id": id, "signal": "TERM", "user": "1000"}).wait(); o.result["sent"] != 0.0 {
		t.Error(o.result)
	}
}

func TestOutputOfDescendantsIsNotAwaited(t *testing.T) {
	c := dial(t)
	id := newID()
	o := c.sh("sleep 1000 & echo done", fields{"id": id}).wait()
	if string(o.data) != "done\n" || exitCode(o) != 0.0 {
		t.Fatalf("%q %v", o.data, o.result)
	}
	if o := c.open("end", fields{"id": id}).wait(); o.result["outcome"] != "ended" {
		t.Error(o.result)
	}
}

func TestManyCommandsAtOnce(t *testing.T) {
	c := dial(t)
	var group sync.WaitGroup
	for i := range 100 {
		group.Add(1)
		a := c.sh(fmt.Sprintf("echo %d", i), fields{"id": fmt.Sprintf("many-%d", i)})
		go func() {
			defer group.Done()
			if o := a.wait(); string(o.data) != fmt.Sprintf("%d\n", i) {
				t.Errorf("%d: %q %v", i, o.data, o.code)
			}
		}()
	}
	group.Wait()
	if o := c.open("programs", nil).wait(); strings.Contains(string(o.data), "many-") {
		t.Errorf("left over: %s", o.data)
	}
}

func TestViolationsEndTheConnection(t *testing.T) {
	for _, each := range []struct {
		code string
		sent []byte
	}{
		{"malformed_frame", []byte{0, 0, 0, 0, 0, 0, 0, 1, 0x77}},
		{"malformed_frame", []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0x12}},
		{"malformed_frame", appendFrame(nil, frameOpen, 0, []byte("{}"))},
		{"malformed_frame", appendFrame(nil, frameOpen, 1, []byte("no json"))},
		{"malformed_frame", appendFrame(nil, frameHello, 0, []byte("{}"))},
		{"bad_stream", appendFrame(nil, frameData, 7, []byte("x"))},
		{"bad_stream", append(appendFrame(nil, frameOpen, 5, []byte("{}")), appendFrame(nil, frameOpen, 5, []byte("{}"))...)},
		{"credit_exceeded", append(appendFrame(nil, frameOpen, 5, []byte(`{"op":"start","id":"x","argv":["sleep","9"]}`)),
			appendFrame(nil, frameData, 5, []byte("x"))...)},
	} {
		c := dial(t)
		c.streams[1] = &answer{c: c, id: 1, frames: make(chan frame, 9)}
		c.streams[5] = &answer{c: c, id: 5, frames: make(chan frame, 9)}
		c.out.Write(each.sent)
		f := <-c.bye
		if f.kind != frameBye || !strings.Contains(string(f.payload), each.code) {
			t.Errorf("%s: %#x %s", each.code, f.kind, f.payload)
		}
		if _, open := <-c.bye; open {
			t.Error("the connection goes on")
		}
	}
}

func TestPing(t *testing.T) {
	c := dial(t)
	c.send(framePing, 0, []byte("echo"))
	if f := <-c.bye; f.kind != framePong || string(f.payload) != "echo" {
		t.Error(f)
	}
}

func TestTooManyStreams(t *testing.T) {
	c := dial(t)
	var refused outcome
	var open []*answer
	for range mostInputs + 1 {
		open = append(open, c.open("pwrite", fields{"path": "/tmp/many", "offset": 0}))
	}
	refused = open[mostInputs].wait()
	if refused.code != "too_many" {
		t.Error(refused)
	}
	for _, a := range open[:mostInputs] {
		if o := a.end().wait(); o.code != "" {
			t.Error(o.code)
		}
	}
}
