import { EngineError } from '../port/engine-error';

/** The version of the protocol that this server speaks: `packages/supervisor/PROTOCOL.md`. */
export const PROTOCOL = 1;

/** The types of frames. */
export const FRAME = {
  hello: 0x01,
  ping: 0x02,
  pong: 0x03,
  bye: 0x04,
  open: 0x10,
  message: 0x11,
  data: 0x12,
  stdout: 0x13,
  stderr: 0x14,
  credit: 0x15,
  end: 0x16,
  cancel: 0x17,
  done: 0x18,
  fail: 0x19,
} as const;

const KIB = 1024;

/** The largest payload of each type that a supervisor may send, in bytes; a type that is missing it may not send. */
const LARGEST = new Map<number, number>([
  [FRAME.hello, 4 * KIB],
  [FRAME.ping, 64],
  [FRAME.pong, 64],
  [FRAME.bye, 4 * KIB],
  [FRAME.message, 64 * KIB],
  [FRAME.data, 64 * KIB],
  [FRAME.stdout, 64 * KIB],
  [FRAME.stderr, 64 * KIB],
  [FRAME.credit, 4],
  [FRAME.end, 0],
  [FRAME.done, 64 * KIB],
  [FRAME.fail, 4 * KIB],
]);

/** Types of the connection itself; all others are of a stream. */
const OF_CONNECTION: ReadonlySet<number> = new Set([FRAME.hello, FRAME.ping, FRAME.pong, FRAME.bye]);

/** The largest payloads that this server may send. */
export const LARGEST_REQUEST_BYTES = 2048 * KIB;
export const LARGEST_MESSAGE_BYTES = 64 * KIB;
export const LARGEST_DATA_BYTES = 64 * KIB;

const HEAD_BYTES = 9;

/** A frame of the supervisor. */
interface Frame {
  readonly stream: number;
  readonly type: number;
  /** Refers to the memory of the chunk that it came in. */
  readonly payload: Buffer;
}

/** The supervisor has broken the protocol's rules: its connection is closed, and everything on it fails. */
export function violation(what: string): EngineError {
  return new EngineError('container_not_responding', `the sandbox's supervisor broke the protocol: ${what}`);
}

/** The 9 bytes before a payload. */
export function frameHead(stream: number, type: number, length: number): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  head.writeUInt32BE(length, 0);
  head.writeUInt32BE(stream, 4);
  head[8] = type;
  return head;
}

/**
 * Cuts the supervisor's bytes into frames, and checks everything about them that needs no knowledge of streams. Holds
 * at most one incomplete frame: nothing is allocated on the word of a length that exceeds its type's bound.
 */
export class FrameReader {
  private readonly head = Buffer.alloc(HEAD_BYTES);
  private headBytes = 0;
  /** The payload that has not arrived as a whole; null while the head is incomplete. */
  private payload: Buffer | null = null;
  private payloadBytes = 0;

  /**
   * Passes on the frames of a chunk, at most `most` of them.
   *
   * @returns the rest of the chunk, which is to be given again; empty if all of it was read
   * @throws EngineError a {@link violation}, and what `take` throws; nothing may be read after it
   */
  read(chunk: Buffer, most: number, take: (frame: Frame) => void): Buffer {
    let at = 0;
    for (let frames = 0; at < chunk.length && frames < most;) {
      if (this.headBytes < HEAD_BYTES) {
        const came = chunk.copy(this.head, this.headBytes, at, at + HEAD_BYTES - this.headBytes);
        this.headBytes += came;
        at += came;
        if (this.headBytes < HEAD_BYTES) break;
      }
      const length = lengthOf(this.head);
      if (this.payload === null && chunk.length - at >= length) {
        const payload = chunk.subarray(at, at + length);
        at += length;
        this.pass(payload, take);
        frames += 1;
        continue;
      }
      this.payload ??= Buffer.allocUnsafe(length);
      const came = chunk.copy(this.payload, this.payloadBytes, at);
      this.payloadBytes += came;
      at += came;
      if (this.payloadBytes < length) break;
      this.pass(this.payload, take);
      frames += 1;
    }
    return chunk.subarray(at);
  }

  private pass(payload: Buffer, take: (frame: Frame) => void): void {
    this.headBytes = 0;
    this.payload = null;
    this.payloadBytes = 0;
    take({ stream: this.head.readUInt32BE(4), type: this.head[8] ?? 0, payload });
  }
}

/** @returns the length of the payload that a complete head announces. @throws EngineError a {@link violation} */
function lengthOf(head: Buffer): number {
  const length = head.readUInt32BE(0);
  const type = head[8] ?? 0;
  const largest = LARGEST.get(type);
  if (largest === undefined) throw violation(`a frame of type ${String(type)}`);
  if (length > largest) throw violation(`a frame of type ${String(type)} with ${String(length)} bytes`);
  if (OF_CONNECTION.has(type) !== (head.readUInt32BE(4) === 0)) {
    throw violation(`a frame of type ${String(type)} on the wrong stream`);
  }
  return length;
}

/** Parses the JSON object in a payload. @throws EngineError a {@link violation} */
export function jsonOf(payload: Buffer): object {
  let value: unknown;
  try {
    value = JSON.parse(payload.toString('utf8'));
  } catch {
    throw violation('JSON that is none');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw violation('JSON that is no object');
  return value;
}
