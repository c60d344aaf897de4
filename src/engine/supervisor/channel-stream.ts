import { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { z } from 'zod';
import { EngineError, type EngineErrorCode, FILE_ERRORS } from '../port/engine-error';
import { FRAME, jsonOf, LARGEST_DATA_BYTES, violation } from './frames';

/** Checks what the supervisor says; a zod schema is one. Throws anything if the value is not as it should be. */
export interface Shape<T> {
  parse(value: unknown): T;
}

/** Bytes from the supervisor. */
export interface ArrivedData {
  /** `stdout` and `stderr` of programs; `data` otherwise. */
  readonly kind: 'data' | 'stdout' | 'stderr';
  readonly data: Buffer;
  /** Of a program's output: the bytes of output before these. 0 otherwise. */
  readonly offset: number;
  /** Of a program's output: when the supervisor read it, in milliseconds since 1970. 0 otherwise. */
  readonly time: number;
}

/** Takes a stream's bytes in order. Neither method may throw. */
export interface DataTaker {
  take(arrived: ArrivedData): void;
  /** Called once: all bytes have been taken, and the supervisor sends no more, or the stream has failed. */
  over(): void;
}

/** How a stream reaches its channel. */
export interface StreamOutput {
  json(type: number, value: object): boolean;
  bytes(type: number, payload: Buffer, sent?: () => void): boolean;
}

/** The credit of both sides at a stream's beginning, in bytes. */
const WINDOW_BYTES = 262_144;
const FIRST_INPUT_CREDIT = 16_384;
/** The supervisor gives at most 256 KiB; more than this would be a lie about its memory. */
const MOST_CREDIT = 64 * 1024 * 1024;
/** Bytes that were taken are given back as credit once they are so many. */
const GIVE_BACK_BYTES = WINDOW_BYTES / 4;
/** No operation has more messages than this. */
const MOST_MESSAGES = 8;
/** Frames without bytes, which cost no credit. */
const MOST_EMPTY_FRAMES = 64;
/** Frames of held output above which neighbours are merged whatever their times. */
const MERGE_ABOVE = 1024;
/** The bytes in front of a program's output: its offset, and its time. */
const OUTPUT_HEAD_BYTES = 16;

/** Rows that are parsed between turns of the event loop. */
const ROWS_A_TURN = 2000;
const LARGEST_ROW_BYTES = 64 * 1024;

/** An answer of which no field is needed. */
export const ANY_ANSWER = z.looseObject({});

const failure = z.object({
  code: z.string().max(64),
  message: z.string().max(4096).default(''),
  reason: z.string().max(64).optional(),
});

/** The supervisor's codes that are the engine's, too. */
const SAME_CODES: ReadonlySet<string> = new Set<EngineErrorCode>([
  // It says `failed` in its place.
  ...FILE_ERRORS.filter((code) => code !== 'tools_failed'),
  'command_not_started',
  'sandbox_full',
  'port_closed',
  'program_not_found',
  'program_exists',
  'program_running',
  'too_many',
]);

/**
 * One operation on a {@link Channel}: a request, with what follows it in both directions until the supervisor's DONE or
 * FAIL. Bytes are held, by the protocol's credit, until somebody takes them: at most 256 KiB.
 *
 * Its errors are EngineErrors: those of the supervisor's FAIL by its code (`failed` is `tools_failed`, `cancelled` is
 * `aborted`, an unknown code is `docker_error`), or the reason why the channel closed.
 */
export class ChannelStream {
  /** When the operation was cancelled, by `performance.now()`. */
  cancelledAt: number | null = null;
  /** By `performance.now()`. */
  readonly openedAt = performance.now();
  /** Whether the supervisor has said anything on the stream. */
  isAnswered = false;

  private readonly messages: object[] = [];
  private messageCount = 0;
  private wantMessage: { resolve: (value: object) => void; reject: (why: EngineError) => void } | null = null;
  /** The supervisor's DONE. */
  private outcome: object | null = null;
  private fault: EngineError | null = null;
  private wantDone: { resolve: (value: object) => void; reject: (why: EngineError) => void }[] = [];

  private held: ArrivedData[] = [];
  private taker: DataTaker | null = null;
  private isPaused = false;
  private isOver = false;
  private hasTheirEnd = false;
  /** What the supervisor may still send. */
  private window = WINDOW_BYTES;
  private owed = 0;
  private emptyFrames = 0;
  /** The end of the output so far. */
  private offset = 0;

  /** What this side may still send; null if the operation takes no bytes. */
  private credit: number | null;
  private unsent: { data: Buffer; written: (error?: EngineError) => void }[] = [];
  private wantsEnd = false;
  private hasEnded = false;

  constructor(
    private readonly op: string,
    private readonly output: StreamOutput,
    private readonly options: { readonly input: boolean; readonly fail: (why: EngineError) => void },
  ) {
    this.credit = options.input ? FIRST_INPUT_CREDIT : null;
  }

  /** Whether the supervisor has closed the stream, or the channel has. */
  get isClosed(): boolean {
    return this.outcome !== null || this.fault !== null;
  }

  /**
   * The next message of the supervisor. Messages that come before this call are kept.
   *
   * @throws EngineError as the class says. A message of another shape, and DONE in the place of a message, are
   *   violations, which close the channel.
   */
  async message<T>(shape: Shape<T>): Promise<T> {
    const next = this.messages.shift();
    if (next) return this.shaped(shape, next);
    if (this.fault) throw this.fault;
    if (this.outcome) throw this.violated(`DONE of ${this.op} in the place of a message`);
    const value = await new Promise<object>((resolve, reject) => {
      this.wantMessage = { resolve, reject };
    });
    return this.shaped(shape, value);
  }

  /**
   * The result of the operation, once the supervisor has sent it; the bytes before it may still be held.
   *
   * @throws EngineError as {@link message}
   */
  async done<T>(shape: Shape<T>): Promise<T> {
    if (this.fault) throw this.fault;
    const value =
      this.outcome ??
      (await new Promise<object>((resolve, reject) => {
        this.wantDone.push({ resolve, reject });
      }));
    return this.shaped(shape, value);
  }

  /** Sends a message to the supervisor. */
  send(message: object): void {
    if (this.isClosed || this.cancelledAt !== null) return;
    if (!this.output.json(FRAME.message, message)) {
      this.options.fail(new EngineError('docker_error', 'a message is too large'));
    }
  }

  /**
   * Passes the bytes that arrive to `taker`, without a promise for each; those that are held already at once. For one
   * taker.
   *
   * @returns what pauses: the supervisor then stops when the credit is used up, at most 256 KiB later
   */
  flowTo(taker: DataTaker): { pause(): void; resume(): void } {
    this.taker = taker;
    this.pass();
    return {
      pause: () => {
        this.isPaused = true;
      },
      resume: () => {
        this.isPaused = false;
        this.pass();
      },
    };
  }

  /**
   * The bytes of the operation, for one reader, which may be slow. Returns after the last of them, also if the
   * operation has failed: {@link done} says so. A reader that leaves the loop early has to {@link cancel} the
   * operation.
   */
  async *chunks(): AsyncGenerator<ArrivedData, void> {
    const came: (ArrivedData | null)[] = [];
    let wake = (): void => undefined;
    const note = (arrived: ArrivedData | null): void => {
      came.push(arrived);
      wake();
    };
    const flow = this.flowTo({ take: note, over: () => note(null) });
    for (;;) {
      const next = came.shift();
      if (next === null) return;
      if (next) {
        flow.pause();
        yield next;
        continue;
      }
      const more = new Promise<void>((resolve) => {
        wake = resolve;
      });
      flow.resume();
      if (came.length === 0) await more;
    }
  }

  /**
   * The rows of an operation, some at a time.
   *
   * @param row checks one row; what it throws is a violation
   * @param most the operation may have no more rows, or the channel is closed
   * @throws EngineError as {@link message}, after the last row
   */
  async *rows<T>(row: Shape<T>, most: number): AsyncGenerator<T[], void> {
    let count = 0;
    let sinceTurn = 0;
    for await (const { data } of this.chunks()) {
      const rows: T[] = [];
      for (const line of linesOf(data)) {
        count += 1;
        sinceTurn += 1;
        if (count > most) throw this.violated(`more than ${String(most)} rows`);
        if (line === null) throw this.violated('a row that does not end');
        rows.push(this.shaped(row, this.json(line)));
      }
      yield rows;
      if (sinceTurn < ROWS_A_TURN) continue;
      sinceTurn = 0;
      await nextTurn();
    }
    if (this.fault) throw this.fault;
  }

  /**
   * Sends bytes to the supervisor as its credit permits.
   *
   * @param written called when all are sent, and the memory is no longer needed. With an error if the stream has
   *   failed. After a DONE, bytes are dropped without an error.
   */
  write(data: Buffer, written: (error?: EngineError) => void): void {
    if (this.isClosed || this.cancelledAt !== null || this.credit === null || this.wantsEnd) {
      written(this.fault ?? undefined);
      return;
    }
    this.unsent.push({ data, written });
    this.flush();
  }

  /** Ends the input, after what was written. */
  end(): void {
    if (this.credit === null) return;
    this.wantsEnd = true;
    this.flush();
  }

  /** The input as a stream of Node's. Its `end` ends the input; an error of the operation does not show in it. */
  writable(): Writable {
    return new Writable({
      highWaterMark: LARGEST_DATA_BYTES,
      write: (data: Buffer, _encoding, callback) => this.write(data, () => callback()),
      final: (callback) => {
        this.end();
        callback();
      },
    });
  }

  /**
   * Says that the result is not wanted any more: {@link done} and {@link message} throw `why`, by default `aborted`,
   * and bytes are dropped. A program goes on without this reader. Does nothing if the operation has ended.
   */
  cancel(why = new EngineError('aborted', `${this.op} was cancelled`)): void {
    if (this.isClosed || this.cancelledAt !== null) return;
    this.cancelledAt = performance.now();
    this.output.bytes(FRAME.cancel, Buffer.alloc(0));
    this.settle(why);
  }

  /** Closes the channel, as its supervisor has broken the operation's rules. @returns the error to throw */
  violated(what: string): EngineError {
    const error = violation(what);
    this.options.fail(error);
    return error;
  }

  /**
   * Takes a frame of the supervisor.
   *
   * @returns whether it closes the stream
   * @throws EngineError a violation
   */
  take(type: number, payload: Buffer): boolean {
    this.isAnswered = true;
    switch (type) {
      case FRAME.message:
        this.takeMessage(jsonOf(payload));
        return false;
      case FRAME.data:
      case FRAME.stdout:
      case FRAME.stderr:
        this.takeBytes(type, payload);
        return false;
      case FRAME.credit:
        this.takeCredit(payload);
        return false;
      case FRAME.end:
        if (this.hasTheirEnd) throw violation('a second END');
        this.hasTheirEnd = true;
        this.pass();
        return false;
      case FRAME.done:
        this.outcome = jsonOf(payload);
        this.closeWith(null);
        return true;
      case FRAME.fail:
        this.closeWith(failureOf(jsonOf(payload)));
        return true;
      default:
        throw violation(`a frame of type ${String(type)} on a stream`);
    }
  }

  /** The channel has closed. */
  fail(why: EngineError): void {
    this.closeWith(why);
  }

  private takeMessage(message: object): void {
    this.messageCount += 1;
    if (this.messageCount > MOST_MESSAGES) throw violation(`${this.op} with many messages`);
    if (this.cancelledAt !== null) return;
    const want = this.wantMessage;
    this.wantMessage = null;
    if (want) want.resolve(message);
    else this.messages.push(message);
  }

  private takeBytes(type: number, payload: Buffer): void {
    if (payload.length > this.window) throw violation(`${this.op} with more bytes than its credit`);
    if (this.hasTheirEnd) throw violation('bytes after END');
    this.window -= payload.length;
    const arrived = this.arrivedOf(type, payload);
    if (arrived.data.length === 0) {
      this.emptyFrames += 1;
      if (this.emptyFrames > MOST_EMPTY_FRAMES) throw violation('empty frames without end');
      return;
    }
    if (this.cancelledAt !== null) return;
    if (this.taker && !this.isPaused && this.held.length === 0) {
      this.taker.take(arrived);
      this.giveBack(arrived);
    } else this.hold(arrived);
  }

  /** @throws EngineError a violation */
  private arrivedOf(type: number, payload: Buffer): ArrivedData {
    const isOutput = this.op === 'start' || this.op === 'attach';
    if (isOutput !== (type !== FRAME.data)) throw violation(`bytes of type ${String(type)} in ${this.op}`);
    if (!isOutput) return { kind: 'data', data: payload, offset: 0, time: 0 };
    if (payload.length < OUTPUT_HEAD_BYTES) throw violation('output without an offset');
    const offset = Number(payload.readBigUInt64BE(0));
    const time = Number(payload.readBigInt64BE(8));
    const data = payload.subarray(OUTPUT_HEAD_BYTES);
    const end = offset + data.length;
    if (offset < this.offset || !Number.isSafeInteger(end)) throw violation('output with a wrong offset');
    if (time < 0 || time > LATEST_TIME_MS) throw violation('output with a wrong time');
    this.offset = end;
    return { kind: type === FRAME.stdout ? 'stdout' : 'stderr', data, offset, time };
  }

  /** Keeps a copy: the bytes are a part of a chunk, which would otherwise be kept as a whole. */
  private hold(arrived: ArrivedData): void {
    const last = this.held.at(-1);
    const isNext = last?.kind === arrived.kind && last.offset + last.data.length === arrived.offset;
    const isMerged =
      last && (arrived.kind === 'data' || (isNext && (last.time === arrived.time || this.held.length > MERGE_ABOVE)));
    if (isMerged && last.data.length + arrived.data.length <= LARGEST_DATA_BYTES) {
      this.held[this.held.length - 1] = grown(last, arrived.data);
    } else this.held.push({ ...arrived, data: copyOf(arrived.data) });
  }

  private pass(): void {
    while (this.taker && !this.isPaused) {
      const next = this.held.shift();
      if (next) {
        this.taker.take(next);
        this.giveBack(next);
        continue;
      }
      if ((this.hasTheirEnd || this.isClosed || this.cancelledAt !== null) && !this.isOver) {
        this.isOver = true;
        this.taker.over();
      }
      return;
    }
  }

  private giveBack({ kind, data }: ArrivedData): void {
    this.owed += data.length + (kind === 'data' ? 0 : OUTPUT_HEAD_BYTES);
    if (this.owed < GIVE_BACK_BYTES || this.isClosed || this.cancelledAt !== null || this.hasTheirEnd) return;
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(this.owed);
    this.window += this.owed;
    this.owed = 0;
    this.output.bytes(FRAME.credit, payload);
  }

  private takeCredit(payload: Buffer): void {
    if (payload.length !== 4) throw violation('a CREDIT of another length');
    if (this.credit === null) throw violation(`credit for ${this.op}, which takes no bytes`);
    const more = payload.readUInt32BE(0);
    if (more === 0 || this.credit + more > MOST_CREDIT) throw violation(`a credit of ${String(more)} bytes`);
    this.credit += more;
    this.flush();
  }

  private flush(): void {
    while (this.unsent.length > 0 && this.credit !== null && this.cancelledAt === null) {
      const first = this.unsent[0];
      if (!first || (this.credit === 0 && first.data.length > 0)) return;
      const length = Math.min(first.data.length, this.credit, LARGEST_DATA_BYTES);
      const part = first.data.subarray(0, length);
      const isLast = length === first.data.length;
      if (isLast) this.unsent.shift();
      else first.data = first.data.subarray(length);
      this.credit -= length;
      const written = isLast ? (): void => first.written() : undefined;
      if (length === 0) written?.();
      else if (!this.output.bytes(FRAME.data, part, written)) return;
    }
    if (!this.wantsEnd || this.hasEnded || this.isClosed || this.cancelledAt !== null) return;
    this.hasEnded = true;
    this.output.bytes(FRAME.end, Buffer.alloc(0));
  }

  private closeWith(why: EngineError | null): void {
    if (this.fault || (why && this.outcome)) return;
    this.settle(why);
    this.pass();
  }

  /** Settles what is waited for; null: DONE. */
  private settle(why: EngineError | null): void {
    this.fault = why;
    const { wantMessage, wantDone, unsent, outcome } = this;
    this.wantMessage = null;
    this.wantDone = [];
    this.unsent = [];
    for (const { written } of unsent) written(why ?? undefined);
    if (why) {
      this.messages.length = 0;
      wantMessage?.reject(why);
      for (const want of wantDone) want.reject(why);
      if (this.cancelledAt !== null) {
        this.held = [];
        this.isPaused = false;
        this.pass();
      }
    } else if (outcome) {
      for (const want of wantDone) want.resolve(outcome);
      if (wantMessage) wantMessage.reject(this.violated(`DONE of ${this.op} in the place of a message`));
    }
  }

  private shaped<T>(shape: Shape<T>, value: object): T {
    try {
      return shape.parse(value);
    } catch (error) {
      const why = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
      throw this.violated(`${this.op}: ${why}`);
    }
  }

  private json(line: Buffer): object {
    try {
      return jsonOf(line);
    } catch (error) {
      if (error instanceof EngineError) this.options.fail(error);
      throw error;
    }
  }
}

/** The year 10000, where JavaScript's dates get another form. */
const LATEST_TIME_MS = 253_402_300_800_000;

/** Not from Node's pool, of which small copies would keep 8 KiB each. */
function copyOf(data: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(data.length);
  data.copy(copy);
  return copy;
}

/** Merges bytes into held ones, in memory that doubles. */
function grown(held: ArrivedData, more: Buffer): ArrivedData {
  const { data } = held;
  const length = data.length + more.length;
  const room = data.byteOffset === 0 ? data.buffer.byteLength : 0;
  if (room >= length) {
    const all = Buffer.from(data.buffer, 0, length);
    more.copy(all, data.length);
    return { ...held, data: all };
  }
  const all = Buffer.from(new ArrayBuffer(Math.max(1024, Math.min(2 * length, LARGEST_DATA_BYTES))), 0, length);
  data.copy(all);
  more.copy(all, data.length);
  return { ...held, data: all };
}

/** The lines of a frame of rows; null: the last one does not end, or is too long. */
function* linesOf(data: Buffer): Generator<Buffer | null> {
  let at = 0;
  while (at < data.length) {
    const end = data.indexOf(0x0a, at);
    if (end < 0 || end - at > LARGEST_ROW_BYTES) {
      yield null;
      return;
    }
    yield data.subarray(at, end);
    at = end + 1;
  }
}

/** @throws EngineError a violation */
function failureOf(value: object): EngineError {
  const parsed = failure.safeParse(value);
  if (!parsed.success) throw violation('a FAIL without a code');
  const { code, message, reason } = parsed.data;
  const words = reason === undefined ? message : `${reason}: ${message}`;
  if (code === 'failed') return new EngineError('tools_failed', words);
  if (code === 'cancelled') return new EngineError('aborted', words);
  if (SAME_CODES.has(code)) return new EngineError(code as EngineErrorCode, words);
  return new EngineError('docker_error', `${code}: ${words}`);
}
