package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// BenchmarkOutput is how fast a program's output comes to a client that reads a pipe, as `connect` gives it.
func BenchmarkOutput(b *testing.B) {
	const size = 64 << 20
	for _, block := range []int{1 << 10, 8 << 10, 64 << 10} {
		b.Run(fmt.Sprint(block), func(b *testing.B) {
			theirs, ours, end := connectPipes(b)
			defer end()
			answers := bufio.NewReaderSize(theirs, 256<<10)
			ours.Write(appendFrame(nil, frameHello, 0, []byte(`{"protocol":1}`)))
			readServerFrame(answers)
			b.SetBytes(size)
			for stream := uint32(1); b.Loop(); stream++ {
				argv := []string{"dd", "if=/dev/zero", fmt.Sprint("bs=", block), fmt.Sprint("count=", size/block), "status=none"}
				ours.Write(appendFrame(nil, frameOpen, stream, encode(fields{"op": "start", "id": newID(), "argv": argv})))
				frames, got, owed := 0, 0, 0
				for f := (frame{}); f.kind != frameDone; {
					var err error
					if f, err = readServerFrame(answers); err != nil || f.kind == frameFail {
						b.Fatal(err, string(f.payload))
					}
					if f.kind == frameStdout {
						got += len(f.payload) - outputHead
						frames++
						if owed += len(f.payload); owed >= creditToClient/4 {
							ours.Write(appendFrame(nil, frameCredit, stream, binary.BigEndian.AppendUint32(nil, uint32(owed))))
							owed = 0
						}
					}
				}
				if got != size {
					b.Fatal(got)
				}
				b.ReportMetric(float64(size/frames), "B/frame")
			}
		})
	}
}

// connectPipes connects to a supervisor as Docker does.
func connectPipes(b *testing.B) (from io.Reader, to io.WriteCloser, end func()) {
	if transport != "" {
		words := strings.Fields(transport)
		command := exec.Command(words[0], words[1:]...)
		stdin, _ := command.StdinPipe()
		stdout, _ := command.StdoutPipe()
		if err := command.Start(); err != nil {
			b.Fatal(err)
		}
		return stdout, stdin, func() { command.Process.Kill(); command.Wait() }
	}
	theirs, out, _ := os.Pipe()
	in, ours, _ := os.Pipe()
	socket, peer := net.Pipe()
	go local().serve(&piped{Conn: socket, in: in, out: out})
	return theirs, ours, func() { ours.Close(); peer.Close() }
}

// piped is a connection by two pipes.
type piped struct {
	net.Conn
	in, out *os.File
}

func (p *piped) Read(to []byte) (int, error)    { return p.in.Read(to) }
func (p *piped) Write(data []byte) (int, error) { return p.out.Write(data) }
