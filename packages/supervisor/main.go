// Command supervisor is the first process of a sandbox. It runs programs and works with files on behalf of Berth's
// servers, which reach it through `supervisor connect`. PROTOCOL.md describes how.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
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

// connect passes bytes between its own input and output and the supervisor's socket. It tells its pid first, so that
// the supervisor does not wait for its end before its own.
func connect() error {
	debug.SetGCPercent(-1) // It allocates nothing after the start.
	// It is told to end with all others, and ends with the connection.
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	socket, err := net.Dial("unix", socketPath)
	if err != nil {
		return err
	}
	if _, err := socket.Write(binary.BigEndian.AppendUint32(nil, uint32(os.Getpid()))); err != nil {
		return err
	}
	go func() {
		copyBytes(socket, os.Stdin)
		socket.Close()
	}()
	copyBytes(os.Stdout, socket)
	return nil
}

func copyBytes(to io.Writer, from io.Reader) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// listen opens the socket for `connect`.
func listen() (net.Listener, error) {
	dir := filepath.Dir(socketPath)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return net.Listen("unix", socketPath)
}

func fatal(what string, err error) {
	fmt.Fprintf(os.Stderr, "supervisor: %s: %v\n", what, err)
	os.Exit(70)
}
