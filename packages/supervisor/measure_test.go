package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func median(d []time.Duration) time.Duration { slices.Sort(d); return d[len(d)/2] }

// TestMeasure prints medians, with BERTH_MEASURE set; BERTH_DOCKER_TRUE is Docker's own exec of true, to compare.
func TestMeasure(t *testing.T) {
	if os.Getenv("BERTH_MEASURE") == "" {
		t.Skip()
	}
	begin := time.Now()
	c := dial(t)
	fmt.Println("open channel", time.Since(begin))
	kb := strings.Repeat("k", 1024)
	c.open("write", fields{"path": "/home/user/kb", "length": 1024}).data(kb).end().wait()
	ops := []struct {
		name string
		run  func()
	}{
		{"ping", func() { c.send(framePing, 0, []byte("x")); <-c.bye }},
		{"stat", func() { c.open("stat", fields{"path": "/home/user/kb"}).wait() }},
		{"read 1K", func() {
			if o := c.open("read", fields{"path": "/home/user/kb", "inline": 16384}).wait(); len(o.data) != 1024 {
				t.Error(o)
			}
		}},
		{"write 1K", func() { c.open("write", fields{"path": "/home/user/kb", "length": 1024}).data(kb).end().wait() }},
		{"read 1K as 1000", func() { c.open("read", fields{"path": "/home/user/kb", "inline": 16384, "user": "1000"}).wait() }},
		{"true", func() { c.open("start", fields{"id": newID(), "argv": []string{"/bin/true"}}).wait() }},
		{"list /bin", func() { c.open("list", fields{"path": "/bin"}).wait() }},
	}
	if w := os.Getenv("BERTH_DOCKER_TRUE"); w != "" {
		words := strings.Fields(w)
		ops = append(ops, struct {
			name string
			run  func()
		}{"docker exec true", func() { exec.Command(words[0], words[1:]...).Run() }})
	}
	times := make([][]time.Duration, len(ops))
	for _, pause := range []time.Duration{200 * time.Millisecond, 0} {
		for i := range times {
			times[i] = nil
		}
		for range 25 {
			for i, op := range ops {
				time.Sleep(pause)
				b := time.Now()
				op.run()
				times[i] = append(times[i], time.Since(b))
			}
		}
		for i, op := range ops {
			fmt.Printf("pause %v %s: %.2f ms (min %.2f)\n", pause, op.name, float64(median(times[i]).Microseconds())/1000, float64(times[i][0].Microseconds())/1000)
		}
	}
	b := time.Now()
	var group sync.WaitGroup
	for i := range 100 {
		group.Add(1)
		a := c.open("start", fields{"id": fmt.Sprint("m", i), "argv": []string{"/bin/true"}})
		go func() { a.wait(); group.Done() }()
	}
	group.Wait()
	fmt.Println("100 at once", time.Since(b))
	const size = 50 << 20
	b = time.Now()
	a := c.open("write", fields{"path": "/home/user/large"})
	credit, sent := creditToSupervisor, 0
	chunk := strings.Repeat("z", 60000)
	for sent < size {
		for credit == 0 || len(a.frames) > 0 {
			if f := a.next(); f.kind == frameCredit {
				credit += int(f.payload[1])<<16 | int(f.payload[2])<<8 | int(f.payload[3])
			}
		}
		n := min(credit, size-sent, 60000)
		a.data(chunk[:n])
		sent, credit = sent+n, credit-n
	}
	a.end().wait()
	fmt.Println("50 MiB up", time.Since(b))
	b = time.Now()
	a = c.open("read", fields{"path": "/home/user/large"})
	a.message()
	o := a.say(fields{"offset": 0, "length": size}).wait()
	fmt.Println("50 MiB down", time.Since(b), len(o.data))
	b = time.Now()
	o = c.open("start", fields{"id": newID(), "argv": []string{"/bin/head", "-c", fmt.Sprint(size), "/dev/zero"}}).wait()
	fmt.Println("50 MiB of output", time.Since(b), len(o.data))
	c.open("remove", fields{"path": "/home/user/large"}).wait()
}
