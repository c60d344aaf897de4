package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// openTerminal opens a new terminal: the master for the supervisor, the slave for the user's program.
func openTerminal(z size, user identity) (master, slave *os.File, err error) {
	flags := os.O_RDWR | syscall.O_NOCTTY | syscall.O_NONBLOCK
	if master, err = os.OpenFile("/dev/ptmx", flags, 0); err != nil {
		return nil, nil, fmt.Errorf("cannot open a terminal: %w", err)
	}
	defer func() {
		if err != nil {
			master.Close()
		}
	}()
	var locked, number int32
	if err = ioctl(master, syscall.TIOCSPTLCK, unsafe.Pointer(&locked)); err != nil {
		return nil, nil, err
	}
	if err = ioctl(master, syscall.TIOCGPTN, unsafe.Pointer(&number)); err != nil {
		return nil, nil, err
	}
	if err = setSize(master, z); err != nil {
		return nil, nil, err
	}
	name := fmt.Sprintf("/dev/pts/%d", number)
	if slave, err = os.OpenFile(name, os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return nil, nil, fmt.Errorf("cannot open a terminal: %w", err)
	}
	slave.Chown(int(user.uid), int(user.gid)) // So that the user can open it again, as /dev/stderr.
	return master, slave, nil
}

// setSize sets a terminal's size, of which its programs are told by SIGWINCH.
func setSize(terminal *os.File, z size) error {
	window := [4]uint16{uint16(z.Rows), uint16(z.Columns)}
	return ioctl(terminal, syscall.TIOCSWINSZ, unsafe.Pointer(&window))
}

// ioctl calls ioctl(2); unlike File.Fd, it leaves the file as it is.
func ioctl(file *os.File, call uintptr, argument unsafe.Pointer) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	if err := raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, call, uintptr(argument))
	}); err != nil {
		return err
	}
	if errno != 0 {
		return fmt.Errorf("ioctl %#x: %w", call, errno)
	}
	return nil
}
