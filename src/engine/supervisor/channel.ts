import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { EngineError } from '../port/engine-error';
import type { ExecOutput } from '../port/container-process';
import { ChannelStream, type StreamOutput } from './channel-stream';
import {
  FRAME,
  frameHead,
  FrameReader,
  jsonOf,
  LARGEST_MESSAGE_BYTES,
  LARGEST_REQUEST_BYTES,
  PROTOCOL,
  violation,
} from './frames';

/** A request to the supervisor, by the name of its operation: see `packages/supervisor/PROTOCOL.md`. */
export interface SupervisorRequest {
  readonly op: string;
  readonly [field: string]: unknown;
}

/** Bytes in JSON, as base64. */
export const wireBytes = z
  .base64()
  .max(8192)
  .transform((text) => Buffer.from(text, 'base64'));

/** What the supervisor says about itself: `boot` is another after each start of the sandbox. */
const hello = z.object({
  protocol: z.int().min(0),
  version: z.string().max(256),
  boot: z.string().min(1).max(256),
  user: z.string().max(256),
  home: wireBytes,
});

const bye = z.object({ code: z.string().max(64), message: z.string().max(4096) });

/** A connection to a supervisor, as an engine opens it. */
export interface ChannelConnection {
  /** Written to the supervisor's stdin. Its stdout and stderr, and errors of the engine, are read multiplexed. */
  readonly socket: Duplex;
  /** Reverses the engine's multiplexing. `take` overwrites the chunk; the output refers to its memory. */
  readonly demultiplexer: (onOutput: (output: ExecOutput) => void) => { take(chunk: Buffer): void };
}

/** What a {@link Channel} asks its owner. Neither method may reject. */
interface ChannelOwner {
  /** Why the connection has ended by itself: the container has ended, Docker does not answer… */
  whyLost(): Promise<EngineError>;
  /** Why the supervisor does not answer; null if it is to be waited for: the container is paused. */
  whySilent(): Promise<EngineError | null>;
}

/** Open streams, including those that the supervisor has not closed after a CANCEL. */
const MOST_STREAMS = 1024;

/**
 * What is read in one turn of the event loop. A supervisor that sends frames of a few bytes without end takes a share
 * of this process's time, but delays no other work by more than some milliseconds.
 */
const FRAMES_A_TURN = 500;
const BYTES_A_TURN = 1024 * 1024;

/** What this process holds for a supervisor that does not read, in bytes. */
const MOST_UNSENT_BYTES = 16 * 1024 * 1024;

/** Docker's words, or those of `connect`, in place of a connection; kept for the log. */
const MOST_WORDS = 4096;

/** Times in milliseconds. On an overloaded machine, gVisor takes more than ten seconds to start a program. */
const HELLO_WITHIN_MS = 40_000;
/** A supervisor that is asked for something and says nothing for this long is sent a PING… */
const SILENT_MS = 10_000;
/** …and does not respond if it has not answered after this. */
const PONG_WITHIN_MS = 30_000;
/** How long the supervisor may take to close a stream after a CANCEL. */
const CANCELLED_WITHIN_MS = 120_000;
/** A request that is not answered for this long may be one to a paused container; how often its owner is asked. */
const UNANSWERED_MS = 3_000;
const ASK_EVERY_MS = 10_000;

/**
 * A connection to the supervisor of one sandbox. What comes out of it may be written by a hostile program: everything
 * is checked and bounded, and a violation of the protocol closes the channel. When it closes, for whatever reason, all
 * its streams fail with the same EngineError; programs go on in the sandbox, by the protocol's rules.
 */
export class Channel {
  /** Resolves when the supervisor has answered the handshake. @throws EngineError the reason why the channel closed */
  readonly ready: Promise<void>;
  /** What Docker or `connect` said on stderr, or in place of the supervisor's first frame. Only for logs. */
  words = '';

  private readonly streams = new Map<number, ChannelStream>();
  private readonly reader = new FrameReader();
  private readonly socket: Duplex;
  /** Bytes that have arrived and are not read yet. */
  private arrived: Buffer[] = [];
  private isReading = false;
  /** Whether anything has come from stdout, and whether that was from Docker. */
  private hasBegun = false;
  private isRefused = false;
  private nextId = 1;
  private isGreeted = false;
  private settle: { resolve: () => void; reject: (why: EngineError) => void } | null = null;
  private fault: EngineError | null = null;
  private readonly closed = new Set<(why: EngineError) => void>();
  private readonly openedAt = performance.now();
  private heardAt = performance.now();
  private pingAt: number | null = null;
  private isAskingWhy = false;
  private hasEnded = false;
  private askedAt = -Infinity;

  constructor(
    { socket, demultiplexer }: ChannelConnection,
    private readonly owner: ChannelOwner,
  ) {
    this.socket = socket;
    this.ready = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    this.ready.catch(() => undefined);
    const demultiplexed = demultiplexer(({ stream, data }) => {
      if (stream === 'stderr' || this.areWords(data)) this.noteWords(data);
      else this.arrived.push(data);
    });
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      demultiplexed.take(chunk);
      this.read();
    });
    socket.once('end', () => this.noteEnd());
    socket.once('close', () => this.noteEnd());
    this.sendJson(0, FRAME.hello, { protocol: PROTOCOL, client: 'berth' });
  }

  /** False as soon as the connection has ended, also while the reason is not known yet. */
  get isOpen(): boolean {
    return this.fault === null && !this.hasEnded;
  }

  /** Including cancelled ones that the supervisor has not closed yet. */
  get openStreams(): number {
    return this.streams.size;
  }

  /** Calls `listener` once the channel has closed, or at once if it has. */
  onClosed(listener: (why: EngineError) => void): void {
    if (this.fault === null) this.closed.add(listener);
    else listener(this.fault);
  }

  /**
   * Opens a stream by a request. It needs no waiting for {@link ready}: the supervisor takes requests behind the
   * handshake.
   *
   * @param options.input whether the operation takes data of this side
   * @throws EngineError why the channel has closed, `too_many`
   */
  open(request: SupervisorRequest, { input = false } = {}): ChannelStream {
    if (!this.isOpen) throw this.whyUnsent();
    if (this.streams.size >= MOST_STREAMS) {
      throw new EngineError('too_many', 'too many requests are open in the sandbox');
    }
    const id = this.nextId;
    const output: StreamOutput = {
      json: (type, value) => this.sendJson(id, type, value),
      bytes: (type, payload, sent) => this.send(id, type, payload, sent),
    };
    const stream = new ChannelStream(request.op, output, { input, fail: (why) => this.fail(why) });
    if (!this.sendJson(id, FRAME.open, request)) throw this.whyUnsent();
    this.nextId += 1;
    this.streams.set(id, stream);
    return stream;
  }

  /**
   * Looks whether the supervisor still answers. To be called every few seconds.
   *
   * @param now `performance.now()`
   */
  check(now = performance.now()): void {
    if (this.fault) return;
    if (!this.isGreeted) {
      if (now - this.openedAt > HELLO_WITHIN_MS) this.askWhySilent();
      return;
    }
    for (const stream of this.streams.values()) {
      if (stream.cancelledAt !== null && now - stream.cancelledAt > CANCELLED_WITHIN_MS) {
        this.askWhySilent();
        return;
      }
    }
    this.checkUnanswered(now);
    if (this.pingAt !== null) {
      if (now - this.pingAt > PONG_WITHIN_MS) this.askWhySilent();
    } else if (this.streams.size > 0 && now - this.heardAt > SILENT_MS) {
      this.pingAt = now;
      this.send(0, FRAME.ping, Buffer.from('berth'));
    }
  }

  /** Closes the channel; its streams fail with `why`. Does nothing if it has closed. */
  close(why = new EngineError('aborted', 'the channel to the sandbox was closed')): void {
    this.fail(why);
  }

  /** Fails requests to a paused container that have not been answered. Programs that have started go on later. */
  private checkUnanswered(now: number): void {
    const isUnanswered = (stream: ChannelStream): boolean =>
      !stream.isAnswered && stream.cancelledAt === null && now - stream.openedAt > UNANSWERED_MS;
    if (now - this.askedAt < ASK_EVERY_MS || ![...this.streams.values()].some(isUnanswered)) return;
    this.askedAt = now;
    void this.owner.whySilent().then((why) => {
      if (why?.code === 'container_not_running' || why?.code === 'container_not_found') this.fail(why);
      if (why !== null) return;
      const paused = new EngineError('container_paused', 'the container is paused');
      for (const stream of this.streams.values()) if (isUnanswered(stream)) stream.cancel(paused);
    });
  }

  private askWhySilent(): void {
    if (this.isAskingWhy) return;
    this.isAskingWhy = true;
    void this.owner.whySilent().then((why) => {
      this.isAskingWhy = false;
      if (why) this.fail(why);
      else if (this.hasEnded) this.noteEnd();
    });
  }

  /** The connection has ended. What has arrived is read first: it may be the results of what was asked. */
  private noteEnd(): void {
    if (this.fault || this.isReading) return;
    this.hasEnded = true;
    if (this.isAskingWhy) return;
    this.isAskingWhy = true;
    void this.owner.whyLost().then((why) => this.fail(why));
  }

  /** Reads what has arrived, at most one turn's share; the rest in the next turn. @returns whether all was read */
  private read(): boolean {
    if (this.isReading || this.fault) return false;
    let frames = FRAMES_A_TURN;
    let bytes = BYTES_A_TURN;
    try {
      while (this.arrived.length > 0) {
        const chunk = this.arrived[0] ?? Buffer.alloc(0);
        const rest = this.reader.read(chunk, Math.max(frames, 1), (frame) => {
          frames -= 1;
          this.take(frame.stream, frame.type, frame.payload);
        });
        bytes -= chunk.length - rest.length;
        if (rest.length === 0) this.arrived.shift();
        else this.arrived[0] = rest;
        if (this.arrived.length > 0 && (frames <= 0 || bytes <= 0)) {
          this.readLater();
          return false;
        }
      }
      return true;
    } catch (error) {
      this.fail(error instanceof EngineError ? error : violation(String(error)));
      return false;
    }
  }

  private readLater(): void {
    this.isReading = true;
    this.socket.pause();
    setImmediate(() => {
      this.isReading = false;
      if (!this.read()) return;
      if (this.socket.readableEnded || this.socket.destroyed) this.noteEnd();
      else this.socket.resume();
    });
  }

  /** @throws EngineError a violation */
  private take(id: number, type: number, payload: Buffer): void {
    if (this.fault) return;
    this.heardAt = performance.now();
    if (!this.isGreeted) {
      this.takeGreeting(type, payload);
      return;
    }
    if (id !== 0) {
      const stream = this.streams.get(id);
      if (!stream) throw violation(`a frame on stream ${String(id)}, which is not open`);
      if (stream.take(type, payload)) this.streams.delete(id);
      return;
    }
    if (type === FRAME.ping) this.send(0, FRAME.pong, payload);
    else if (type === FRAME.pong) this.takePong();
    else if (type === FRAME.bye) this.takeBye(payload);
    else throw violation('a second HELLO');
  }

  private takeGreeting(type: number, payload: Buffer): void {
    if (type === FRAME.bye) {
      this.takeBye(payload);
      return;
    }
    if (type !== FRAME.hello) throw violation('no HELLO');
    const parsed = hello.safeParse(jsonOf(payload));
    if (!parsed.success) throw violation(`HELLO: ${z.prettifyError(parsed.error)}`);
    if (parsed.data.protocol !== PROTOCOL) {
      const other = String(parsed.data.protocol);
      throw new EngineError('restart_required', `the sandbox's supervisor speaks version ${other} of the protocol`);
    }
    this.isGreeted = true;
    this.settle?.resolve();
  }

  private takePong(): void {
    if (this.pingAt === null) throw violation('a PONG without a PING');
    this.pingAt = null;
  }

  private takeBye(payload: Buffer): void {
    const parsed = bye.safeParse(jsonOf(payload));
    if (!parsed.success) throw violation('a BYE without a reason');
    const { code, message } = parsed.data;
    const words = `the sandbox's supervisor closed the connection: ${code}: ${message}`;
    if (code === 'unsupported_protocol') throw new EngineError('restart_required', words);
    if (code === 'too_many_connections') throw new EngineError('too_many', words);
    if (code === 'shutting_down') throw new EngineError('container_not_running', words);
    throw new EngineError('container_not_responding', words);
  }

  /**
   * Whether these are Docker's words in place of the supervisor's: why the program that connects was not started. A
   * frame of HELLO begins with a zero.
   */
  private areWords(data: Buffer): boolean {
    this.isRefused ||= !this.isGreeted && !this.hasBegun && data[0] !== 0;
    this.hasBegun = true;
    return this.isRefused;
  }

  private noteWords(data: Buffer): void {
    if (this.words.length < MOST_WORDS) this.words = (this.words + data.toString('utf8')).slice(0, MOST_WORDS);
  }

  /** @returns false if the channel has closed, or the value is too large */
  private sendJson(stream: number, type: number, value: object): boolean {
    const payload = Buffer.from(JSON.stringify(value));
    const most = type === FRAME.open ? LARGEST_REQUEST_BYTES : LARGEST_MESSAGE_BYTES;
    return payload.length <= most && this.send(stream, type, payload);
  }

  private whyUnsent(): EngineError {
    if (this.fault) return this.fault;
    if (this.hasEnded || this.socket.destroyed) {
      return new EngineError('docker_unavailable', 'the connection to the sandbox has just ended');
    }
    return new EngineError('docker_error', 'a request is too large');
  }

  /** @param sent called when the payload's memory is no longer needed, also if it could not be sent */
  private send(stream: number, type: number, payload: Buffer, sent?: () => void): boolean {
    if (this.fault || this.socket.destroyed) {
      sent?.();
      return false;
    }
    if (this.socket.writableLength > MOST_UNSENT_BYTES) {
      this.fail(new EngineError('container_not_responding', "the sandbox's supervisor does not read"));
      sent?.();
      return false;
    }
    const head = frameHead(stream, type, payload.length);
    if (payload.length === 0) {
      this.socket.write(head, sent && (() => sent()));
      return true;
    }
    this.socket.cork();
    this.socket.write(head);
    this.socket.write(payload, sent && (() => sent()));
    this.socket.uncork();
    return true;
  }

  private fail(why: EngineError): void {
    if (this.fault) return;
    this.fault = why;
    this.arrived = [];
    this.socket.destroy();
    this.settle?.reject(why);
    const streams = [...this.streams.values()];
    this.streams.clear();
    for (const stream of streams) stream.fail(why);
    for (const listener of this.closed) listener(why);
    this.closed.clear();
  }
}
