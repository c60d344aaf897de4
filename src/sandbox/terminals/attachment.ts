import type { OutputRing } from '../output-ring';
import type { OutputTurns } from './output-turns';

/** Output that may be on its way to a client, in bytes: what is written beyond it waits in the container. */
export const WINDOW_BYTES = 256 * 1024;

/** Of a flood as much is sent at a time: each frame costs several system calls, here and at the client. */
export const FRAME_BYTES = 32 * 1024;
/** A key's echo, a prompt: what is no more than this, with what was sent in the last moments, is sent at once. */
const SMALL_BYTES = 4 * 1024;
/** How fast what was sent counts no more: far faster than anybody types. */
const FORGOTTEN_PER_MS = 64;
/** What a frame counts beside its bytes. */
const FRAME_COST = 32;
/** How long output waits for more, where it is not sent at once. */
const COLLECT_MS = 4;

/** Who types; all others watch. */
export type TerminalRole = 'writer' | 'watcher';

/** How a terminal ended, or why a client is attached no longer. */
export interface TerminalExit {
  /** The shell's; null where it did not end by itself, or nobody knows. */
  readonly code: number | null;
  readonly reason:
    | 'exited'
    /** By its user, through the API. */
    | 'ended'
    /** Nobody was attached for too long. */
    | 'detached'
    | 'container_stopped'
    | 'container_deleted'
    /** A resize or other variables: there is a new container with the old one's data. */
    | 'container_recreated'
    /** The connection to Docker broke. */
    | 'lost'
    | 'server_stopped';
  /** Why the container was stopped, where nobody asked for it: as `status_reason` of the container. */
  readonly detail?: string;
}

/** A client as its door knows it. Nothing here may throw. */
export interface TerminalOutlet {
  /** {@link Attachment.noteWritten} is to be called once the bytes have left this process. */
  output(offset: number, bytes: Buffer): void;
  /** Its role has changed. */
  role(role: TerminalRole): void;
  /** The last that it is told. */
  exit(exit: TerminalExit): void;
  /** It took too long over its output, and is attached no longer. */
  drop(): void;
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** What an attachment tells its session. */
interface AttachmentEvents {
  /** It has sent output, or has more room for it. */
  onRoom(): void;
  /** It had no room for too long. */
  onStalled(): void;
}

interface AttachmentOptions extends AttachmentEvents {
  /** From where in the output it is sent. */
  readonly after: number;
  readonly size: TerminalSize;
  readonly stallMs: number;
  /** How much a client that comes back may still acknowledge of what its earlier connection brought, in bytes. */
  readonly staleBytes: number;
}

/**
 * One client at one terminal: where in the output it is, how much of that it has acknowledged, and how much the kernel
 * has taken. An acknowledgement alone proves nothing: a client can acknowledge what it has never read. A little output
 * is sent at once, a flood in large frames.
 */
export class Attachment {
  role: TerminalRole = 'watcher';
  /** As the client last gave it; counts while it writes. */
  size: TerminalSize;

  private position: number;
  private unacknowledged = 0;
  /** Sent, and still in this process's memory: in a buffer of the transport. */
  private unwritten = 0;
  private staleBytes: number;
  private sentAt = -Infinity;
  /** {@link sentLately} as it was at `sentAt`. */
  private recent = 0;
  private collecting: NodeJS.Timeout | undefined;
  private stall: NodeJS.Timeout | undefined;
  private knowsOfIt = false;
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

  /** Whether its client knows of it. */
  get hasBegun(): boolean {
    return this.knowsOfIt;
  }

  /** Whether it was sent all that there is. */
  get isUpToDate(): boolean {
    return this.backlog <= 0;
  }

  /** Whether more output would have to wait for it: it has a frame to send, or no room. */
  get isBehind(): boolean {
    if (this.isUpToDate) return false;
    return this.state !== 'begun' || this.backlog >= Math.min(FRAME_BYTES, this.room);
  }

  /** From now on it is sent output: it knows that it is attached. */
  begin(): void {
    this.knowsOfIt = true;
    if (this.state === 'waiting') this.state = 'begun';
    this.flush();
    this.options.onRoom();
  }

  /** There is output, or room for it: sent now, or soon. */
  flush(): void {
    if (!this.canSend || this.turns.has(this)) return;
    if (this.sentLately + this.backlog <= SMALL_BYTES) this.sendFrame();
    else if (this.backlog >= FRAME_BYTES || performance.now() - this.sentAt >= COLLECT_MS) this.turns.add(this);
    else this.collecting ??= setTimeout(() => this.sendCollected(), COLLECT_MS).unref();
  }

  /** Sends what it has room for at once: there will be no more. */
  finish(): void {
    while (this.sendFrame() > 0);
  }

  /** As much as it has room for, of what is still kept. @returns its bytes */
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
   * @param bytes that the client has dealt with since it last said so, more than 0
   * @returns false where it was not sent as many: the client is wrong, and nothing has changed
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

  /** @param bytes of its output that have left this process */
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

  /** The bytes of the last moments, and what their frames cost: fewer as time goes by. */
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
