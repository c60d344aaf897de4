package main

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The protocol's version and sizes: PROTOCOL.md describes them.
const (
	protocolVersion = 1
	headerBytes     = 9
	mostData        = 64 << 10
	mostRequest     = 2 << 20
	mostWords       = 4 << 10
	mostPath        = 4096 // Of a path that is told.
	outputHead      = 16
)

type frameType byte

const (
	noFrame      frameType = 0x00 // Not sent.
	frameHello   frameType = 0x01
	framePing    frameType = 0x02
	framePong    frameType = 0x03
	frameBye     frameType = 0x04
	frameOpen    frameType = 0x10
	frameMessage frameType = 0x11
	frameData    frameType = 0x12
	frameStdout  frameType = 0x13
	frameStderr  frameType = 0x14
	frameCredit  frameType = 0x15
	frameEnd     frameType = 0x16
	frameCancel  frameType = 0x17
	frameDone    frameType = 0x18
	frameFail    frameType = 0x19
)

// clientFrames are the types that a client may send, and the most bytes of each.
var clientFrames = map[frameType]uint32{
	frameHello:   mostWords,
	framePing:    64,
	framePong:    64,
	frameOpen:    mostRequest,
	frameMessage: mostData,
	frameData:    mostData,
	frameCredit:  4,
	frameEnd:     0,
	frameCancel:  0,
}

// A violation of the protocol by the client. It ends the connection; its text is the code of BYE.
type violation string

func (v violation) Error() string { return string(v) }

const (
	badFrame    violation = "malformed_frame"
	badStream   violation = "bad_stream"
	overCredit  violation = "credit_exceeded"
	noHello     violation = "no_hello"
	badProtocol violation = "unsupported_protocol"
)

type frame struct {
	kind    frameType
	stream  uint32
	payload []byte
}

// readFrame reads one frame of a client.
func readFrame(r io.Reader) (frame, error) {
	var head [headerBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	length := binary.BigEndian.Uint32(head[:])
	f := frame{kind: frameType(head[8]), stream: binary.BigEndian.Uint32(head[4:])}
	most, known := clientFrames[f.kind]
	isOfConnection := f.kind < frameOpen
	if !known || length > most || isOfConnection != (f.stream == 0) || f.kind == frameCredit && length != 4 {
		return frame{}, badFrame
	}
	f.payload = make([]byte, length)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return frame{}, fmt.Errorf("a frame was cut off: %w", err)
	}
	return f, nil
}

// appendHead appends the head of a frame.
func appendHead(to []byte, kind frameType, stream uint32, length int) []byte {
	to = binary.BigEndian.AppendUint32(to, uint32(length))
	to = binary.BigEndian.AppendUint32(to, stream)
	return append(to, byte(kind))
}
