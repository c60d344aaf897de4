// Command supervisor is the first process of a sandbox. It runs programs and works with files on behalf of Berth's
// servers, which reach it through `supervisor connect`. PROTOCOL.md describes how.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// version names the build; set by the linker.
var version = "development"

// socketPath is in a directory that only root can enter: gVisor (20240729) does not tell who a socket's peer is.
const socketPath = "/dev/.berth/supervisor"

func main() {
	mode, args := "init", os.Args[1:]
	if len(args) > 0 {
		mode, args = args[0], args[1:]
	}
	switch mode {
	case "init":
		runInit(args)
	case "connect":
		if err := connect(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "version":
		fmt.Println(version)
	default:
		fmt.Fprintln(os.Stderr, "usage: supervisor [init [-keep-home] [USER [NAME-SERVER...]] | connect | version]")
		os.Exit(2)
	}
}

// connect gives its own input and output to the supervisor, and waits until it has no more use for them.
func connect() error {
	// It is told to end with all others, and ends with the connection.
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	socket, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: socketPath})
	if err != nil {
		return err
	}
	if _, _, err := socket.WriteMsgUnix([]byte{0}, syscall.UnixRights(0, 1), nil); err != nil {
		return err
	}
	// The supervisor alone has them now, and sees the end of the input.
	os.Stdin.Close()
	os.Stdout.Close()
	if n, err := io.Copy(os.Stderr, socket); n > 0 || err != nil {
		return errors.Join(errors.New("the supervisor has refused the connection"), err)
	}
	return nil
}

// bridge is a client's connection: the input and output of a `connect`, and its socket.
type bridge struct {
	in, out *os.File
	socket  *net.UnixConn
}

// receiveBridge takes what `connect` gives.
func receiveBridge(socket *net.UnixConn) (*bridge, error) {
	socket.SetReadDeadline(time.Now().Add(helloWithin))
	rights := make([]byte, syscall.CmsgSpace(8))
	_, n, _, _, err := socket.ReadMsgUnix(make([]byte, 1), rights)
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("not given an input and an output")
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 2 {
		return nil, errors.New("not given an input and an output")
	}
	for _, fd := range fds {
		syscall.SetNonblock(fd, true)
		syscall.CloseOnExec(fd)
	}
	b := &bridge{os.NewFile(uintptr(fds[0]), "in"), os.NewFile(uintptr(fds[1]), "out"), socket}
	socket.SetReadDeadline(time.Time{})
	go func() {
		// If `connect` is killed, its runtime waits for the end of this output before it closes the input.
		socket.Read(make([]byte, 1))
		b.Close()
	}()
	return b, nil
}

func (b *bridge) Read(to []byte) (int, error)        { return b.in.Read(to) }
func (b *bridge) Write(data []byte) (int, error)     { return b.out.Write(data) }
func (b *bridge) SetReadDeadline(t time.Time) error  { return b.in.SetReadDeadline(t) }
func (b *bridge) SetWriteDeadline(t time.Time) error { return b.out.SetWriteDeadline(t) }

func (b *bridge) Close() error {
	return errors.Join(b.in.Close(), b.out.Close(), b.socket.Close())
}

// listen opens the socket for `connect`.
func listen() (*net.UnixListener, error) {
	dir := filepath.Dir(socketPath)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socketPath})
}

func fatal(what string, err error) {
	fmt.Fprintf(os.Stderr, "supervisor: %s: %v\n", what, err)
	os.Exit(70)
}
