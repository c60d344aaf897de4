import type { TerminalSize } from '../../engine';
import type { OutputRing } from './output-ring';

/** Maximum output on its way to a client, in bytes. Output beyond it waits in the container. */
export const WINDOW_BYTES = 256 * 1024;

/** The size of a frame in a flood of output: each frame costs several system calls, here and at the client. */
export const FRAME_BYTES = 32 * 1024;
/** Output up to this size is sent at once, together with what was sent lately: a key's echo, a prompt. */
const SMALL_BYTES = 4 * 1024;
/** How fast sent bytes stop counting as sent lately: far faster than anyone types. */
const FORGOTTEN_PER_MS = 64;
/** The cost of a frame in addition to its bytes. */
const FRAME_COST = 32;
/** How long output that is not sent at once waits for more. */
const COLLECT_MS = 4;

/** One client writes; all others watch. */
export type TerminalRole = 'writer' | 'watcher';

/** How a terminal ended. */
export interface TerminalExit {
  /** The shell's exit code; null if the shell did not exit by itself, or if the code is not known. */
  readonly code: number | null;
  readonly reason:
    | 'exited'
    /** By request through the API, or because its user lost exec access: `detail` is `exec_not_allowed` then. */
    | 'ended'
    /** No client was attached for too long. */
    | 'detached'
    | 'container_stopped'
    | 'container_deleted'
    /** A resize or other variables replaced the container by a new one with the same data. */
    | 'container_recreated'
    /** The connection to its sandbox broke: the terminal may go on, and can be attached to again. */
    | 'lost'
    /** This server ends: the terminal goes on, and can be attached to again. */
    | 'server_stopped';
  /** Why the container was stopped without a request, as in its `status_reason`, or why the terminal was ended. */
  readonly detail?: string;
}

/** A client's connection. Its methods must not throw. */
export interface TerminalOutlet {
  /** Sends output. {@link Attachment.noteWritten} has to be called once the bytes have left this process. */
  output(offset: number, bytes: Buffer): void;
  /** The client's role has changed. */
  role(role: TerminalRole): void;
  /** The terminal has ended. The last call. */
  exit(exit: TerminalExit): void;
  /** The client took no output for too long and has been detached. */
  drop(): void;
}

/** Called by an attachment for its session. */
interface AttachmentEvents {
  /** The attachment has sent output, or has more room for it. */
  onRoom(): void;
  /** The attachment had no room for output for too long. */
  onStalled(): void;
}

interface AttachmentOptions extends AttachmentEvents {
  /** The offset in the output at which sending begins. */
  readonly after: number;
  readonly size: TerminalSize;
  readonly stallMs: number;
  /** How many bytes a returning client may still acknowledge of those that its earlier connection sent. */
  readonly staleBytes: number;
}

/**
 * One client of one terminal: its place in the output, how much it has acknowledged, and how much the kernel has
 * taken. An acknowledgement alone proves nothing, since a client can acknowledge bytes that it has never read. A
 * little output is sent at once, a flood in large frames.
 */
export class Attachment {
  role: TerminalRole = 'watcher';
  /** The size that the client gave last. It applies while the client is the writer. */
  size: TerminalSize;

  private position: number;
  private unacknowledged = 0;
  /** Bytes that were sent but are still in this process, in a buffer of the transport. */
  private unwritten = 0;
  private staleBytes: number;
  private sentAt = -Infinity;
  /** {@link sentLately} right after the frame that was sent at `sentAt`. */
  private recent = 0;
  private collecting: NodeJS.Timeout | undefined;
  private stall: NodeJS.Timeout | undefined;
  private state: 'waiting' | 'begun' | 'closed' = 'waiting';

  constructor(
    readonly outlet: TerminalOutlet,
    private readonly ring: OutputRing,
    private readonly turns: OutputTurns,
    private readonly options: AttachmentOptions,
  ) {
    this.position = options.after;
    this.staleBytes = options.staleBytes;
    this.size = options.size;
  }

  /** Whether the client was sent all output. */
  get isUpToDate(): boolean {
    return this.backlog <= 0;
  }

  /**
   * Whether further output has to wait for this client: it has not begun, it has a whole frame to send, or it has no
   * room.
   */
  get isBehind(): boolean {
    if (this.isUpToDate) return false;
    return this.state !== 'begun' || this.backlog >= Math.min(FRAME_BYTES, this.room);
  }

  /** Begins sending output: the client has been told that it is attached. */
  begin(): void {
    if (this.state === 'waiting') this.state = 'begun';
    this.flush();
    this.options.onRoom();
  }

  /** Sends new output, now or soon. Called when there is output, or room for it. */
  flush(): void {
    if (!this.canSend || this.turns.has(this)) return;
    if (this.sentLately + this.backlog <= SMALL_BYTES) this.sendFrame();
    else if (this.backlog >= FRAME_BYTES || performance.now() - this.sentAt >= COLLECT_MS) this.turns.add(this);
    else this.collecting ??= setTimeout(() => this.sendCollected(), COLLECT_MS).unref();
  }

  /** Sends at once all that there is room for: the output has ended. */
  finish(): void {
    while (this.sendFrame() > 0);
  }

  /** Sends one frame of the output that is still kept, as far as there is room. @returns its bytes */
  sendFrame(): number {
    if (!this.canSend) return 0;
    const { offset, bytes } = this.ring.read(this.position, Math.min(FRAME_BYTES, this.room));
    this.position = offset + bytes.length;
    this.unacknowledged += bytes.length;
    this.unwritten += bytes.length;
    this.recent = Math.min(this.sentLately + FRAME_COST + bytes.length, 2 * SMALL_BYTES);
    this.sentAt = performance.now();
    if (this.room <= 0) this.watchStall();
    this.outlet.output(offset, bytes);
    this.flush();
    this.options.onRoom();
    return bytes.length;
  }

  /**
   * @param bytes processed by the client since its last acknowledgement; more than 0
   * @returns false if the client was not sent that many; nothing has changed then
   */
  acknowledge(bytes: number): boolean {
    if (this.state === 'closed') return true;
    const excess = Math.max(0, bytes - this.unacknowledged);
    if (excess > this.staleBytes) return false;
    this.staleBytes -= excess;
    this.unacknowledged -= bytes - excess;
    this.noteProgress();
    return true;
  }

  /** @param bytes of the client's output that have left this process */
  noteWritten(bytes: number): void {
    this.unwritten -= bytes;
    this.noteProgress();
  }

  close(): void {
    this.state = 'closed';
    this.turns.delete(this);
    clearTimeout(this.collecting);
    clearTimeout(this.stall);
  }

  private get backlog(): number {
    return this.ring.end - this.position;
  }

  /** The bytes sent lately, including the cost of their frames; decreases with time. */
  private get sentLately(): number {
    return Math.max(0, this.recent - (performance.now() - this.sentAt) * FORGOTTEN_PER_MS);
  }

  private get room(): number {
    return WINDOW_BYTES - Math.max(this.unacknowledged, this.unwritten);
  }

  private get canSend(): boolean {
    return this.state === 'begun' && !this.isUpToDate && this.room > 0;
  }

  private noteProgress(): void {
    if (this.state !== 'begun' || this.room <= 0) return;
    clearTimeout(this.stall);
    this.stall = undefined;
    this.flush();
    this.options.onRoom();
  }

  private sendCollected(): void {
    this.collecting = undefined;
    if (this.canSend) this.turns.add(this);
  }

  private watchStall(): void {
    this.stall ??= setTimeout(() => this.options.onStalled(), this.options.stallMs).unref();
  }
}

/**
 * The bytes that all senders together send in one turn of the event loop, exceeded by at most one frame: a few
 * milliseconds of work.
 */
const TURN_BYTES = 256 * 1024;

/** A sender with output to send. */
interface Sender {
  /** Sends one frame. @returns its bytes; 0 if there is nothing to send now */
  sendFrame(): number;
}

/**
 * Shares the event loop among the senders of output. In each turn they send one frame after the other, up to a limit,
 * so that neither requests nor other terminals wait for a flood.
 */
export class OutputTurns {
  private readonly waiting = new Set<Sender>();
  private isPlanned = false;

  /** Lets the sender send one frame in the next turn, or a later one. Adding it again has no effect. */
  add(sender: Sender): void {
    this.waiting.add(sender);
    this.plan();
  }

  delete(sender: Sender): void {
    this.waiting.delete(sender);
  }

  has(sender: Sender): boolean {
    return this.waiting.has(sender);
  }

  private plan(): void {
    if (this.isPlanned || this.waiting.size === 0) return;
    this.isPlanned = true;
    setImmediate(() => this.turn());
  }

  /** A sender with more output adds itself again, behind the others. */
  private turn(): void {
    let left = TURN_BYTES;
    for (const sender of this.waiting) {
      if (left <= 0) break;
      this.waiting.delete(sender);
      left -= sender.sendFrame();
    }
    this.isPlanned = false;
    this.plan();
  }
}
