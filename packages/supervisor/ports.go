package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of ports.
const (
	mostPorts     = 256
	mostAddresses = 8
	mostFds       = 1024 // The descriptors of a process that are looked at.
	relayBytes    = 16 << 10
	dialWithin    = 10 * time.Second
)

// portRow is a port on which something listens.
type portRow struct {
	Port      int      `json:"port"`
	Addresses []string `json:"addresses"`
	Program   string   `json:"program,omitempty"`
	inode     string
}

func listPorts(s *stream, _ *request) (any, error) {
	found := map[int]*portRow{}
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		file, err := os.Open(name)
		if err != nil {
			continue // A kernel without IPv6.
		}
		readSockets(file, found)
		file.Close()
	}
	ports := make([]*portRow, 0, len(found))
	for _, row := range found {
		slices.Sort(row.Addresses)
		ports = append(ports, row)
	}
	slices.SortFunc(ports, func(a, b *portRow) int { return a.Port - b.Port })
	ports = ports[:min(len(ports), mostPorts)]
	if len(ports) > 0 {
		nameHolders(ports)
	}
	out := rows{s: s}
	for _, row := range ports {
		if err := out.add(row); err != nil {
			return nil, err
		}
	}
	return nil, out.flush()
}

// readSockets collects the listening sockets of a table of the kernel.
func readSockets(table io.Reader, found map[int]*portRow) {
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != "0A" {
			continue
		}
		address, port, ok := parseSocket(fields[1])
		if !ok {
			continue
		}
		row := found[port]
		if row == nil {
			row = &portRow{Port: port, inode: fields[9]}
			found[port] = row
		}
		if len(row.Addresses) < mostAddresses && !slices.Contains(row.Addresses, address) {
			row.Addresses = append(row.Addresses, address)
		}
	}
}

// parseSocket reads ADDRESS:PORT. Each 32 bits of an address are a number in the byte order of the machine.
func parseSocket(text string) (string, int, bool) {
	host, portText, _ := strings.Cut(text, ":")
	port, err := strconv.ParseUint(portText, 16, 16)
	raw, bad := hex.DecodeString(host)
	if err != nil || bad != nil || len(raw)%4 != 0 {
		return "", 0, false
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	address, ok := netip.AddrFromSlice(raw)
	return address.Unmap().String(), int(port), ok
}

// nameHolders finds the programs that hold the ports' sockets.
func nameHolders(ports []*portRow) {
	left := map[string]*portRow{}
	for _, row := range ports {
		left["socket:["+row.inode+"]"] = row
	}
	for _, p := range processes() {
		dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", p.pid))
		if err != nil {
			continue
		}
		names, _ := dir.Readdirnames(mostFds)
		dir.Close()
		for _, name := range names {
			target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", p.pid, name))
			if row := left[target]; row != nil {
				row.Program = strings.ToValidUTF8(p.name, "\ufffd")
				if delete(left, target); len(left) == 0 {
					return
				}
			}
		}
	}
}

func connectPort(s *stream, r *request) (any, error) {
	if r.Port < 1 || r.Port > 65535 {
		return nil, invalid("the port is out of range")
	}
	dialer := net.Dialer{Timeout: dialWithin}
	socket, err := dialer.DialContext(s.ctx, "tcp", fmt.Sprint("127.0.0.1:", r.Port))
	if err != nil {
		socket, err = dialer.DialContext(s.ctx, "tcp", fmt.Sprint("[::1]:", r.Port))
	}
	if err != nil {
		return nil, fail("port_closed", "%v", err)
	}
	defer socket.Close()
	defer context.AfterFunc(s.ctx, func() { socket.Close() })()
	s.tell(struct{}{})
	given := make(chan struct{})
	go func() {
		defer close(given)
		err := s.receive(transferCredit, func(data []byte) error {
			_, err := socket.Write(data)
			return err
		})
		if err == nil {
			socket.(*net.TCPConn).CloseWrite()
		}
	}()
	if _, err := io.CopyBuffer(s, struct{ io.Reader }{socket}, make([]byte, relayBytes)); err != nil {
		return nil, s.ctx.Err() // A reset ends both directions.
	}
	s.send(frameEnd, nil)
	<-given
	return nil, nil
}
