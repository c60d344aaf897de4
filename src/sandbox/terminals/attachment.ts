import type { OutputRing } from '../output-ring';

/** Output that may be on its way to a client, in bytes: what is written beyond it waits in the container. */
export const WINDOW_BYTES = 256 * 1024;
const CHUNK_BYTES = 32 * 1024;

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
  /** There is more room for output. */
  onRoom(): void;
  /** It had no room for too long. */
  onStalled(): void;
}

/** One client at one terminal: where in the output it is, and how much of that it has acknowledged. */
export class Attachment {
  role: TerminalRole = 'watcher';
  /** As the client last gave it; counts while it writes. */
  size: TerminalSize;

  private position: number;
  private unacknowledged = 0;
  private stall: NodeJS.Timeout | undefined;
  private knowsOfIt = false;
  private state: 'waiting' | 'begun' | 'closed' = 'waiting';

  /** @param options.after from where in the output it is sent */
  constructor(
    readonly outlet: TerminalOutlet,
    private readonly ring: OutputRing,
    private readonly options: { after: number; size: TerminalSize; stallMs: number } & AttachmentEvents,
  ) {
    this.position = options.after;
    this.size = options.size;
  }

  /** Whether its client knows of it. */
  get hasBegun(): boolean {
    return this.knowsOfIt;
  }

  /** Whether it was sent all that there is. */
  get isUpToDate(): boolean {
    return this.position >= this.ring.end;
  }

  /** From now on it is sent output: it knows that it is attached. */
  begin(): void {
    this.knowsOfIt = true;
    if (this.state === 'waiting') this.state = 'begun';
    this.flush();
    this.options.onRoom();
  }

  /** Sends what there is and what it has room for. What is no longer kept is left out, as offsets show. */
  flush(): void {
    while (this.state === 'begun' && !this.isUpToDate && this.unacknowledged < WINDOW_BYTES) {
      const room = WINDOW_BYTES - this.unacknowledged;
      const { offset, bytes } = this.ring.read(this.position, Math.min(CHUNK_BYTES, room));
      this.position = offset + bytes.length;
      this.unacknowledged += bytes.length;
      this.outlet.output(offset, bytes);
    }
    if (this.unacknowledged >= WINDOW_BYTES && this.state === 'begun') this.watchStall();
  }

  /** @param bytes that the client has dealt with since it last said so */
  acknowledge(bytes: number): void {
    if (this.state !== 'begun' || bytes <= 0 || this.unacknowledged === 0) return;
    this.unacknowledged = Math.max(0, this.unacknowledged - bytes);
    clearTimeout(this.stall);
    this.stall = undefined;
    this.flush();
    this.options.onRoom();
  }

  close(): void {
    this.state = 'closed';
    clearTimeout(this.stall);
  }

  private watchStall(): void {
    this.stall ??= setTimeout(() => this.options.onStalled(), this.options.stallMs).unref();
  }
}
