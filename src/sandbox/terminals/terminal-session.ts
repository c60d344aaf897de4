import { type ContainerProcess, saysNotRunning } from '../../docker';
import { DomainError, invalidParameters } from '../../errors';
import { OutputRing } from '../output-ring';
import { Attachment, type TerminalExit, type TerminalOutlet, type TerminalSize, WINDOW_BYTES } from './attachment';
import type { OutputTurns } from './output-turns';

/** Of the output, what is replayed to who attaches. */
export const RING_BYTES = 256 * 1024;

/** While nobody writes, a flood is read at this pace: 1 MiB/s. */
const UNWATCHED_BYTES = 256 * 1024;
const UNWATCHED_PAUSE_MS = 250;

/** How long input waits for a change of the terminal's size that was asked for before. */
const INPUT_HELD_MS = 1_000;

/** Input that may wait for a shell that does not read. */
export const MAX_INPUT_WAITING = 1024 * 1024;

/** Enough for one person's windows; each costs memory for its output. */
export const MAX_CLIENTS = 16;

/** What a test may shorten, in milliseconds. */
export interface TerminalTimes {
  /** How long it goes on while nobody is attached. */
  readonly detachedMs?: number;
  /** How long a client may take over its output without a sign of progress. */
  readonly stallMs?: number;
}

const DETACHED_MS = 5 * 60_000;
const STALL_MS = 30_000;

export interface TerminalFacts {
  readonly id: string;
  readonly containerId: string;
  readonly userId: string;
  readonly dockerId: string;
  readonly startedAt: Date;
}

/** How a shell ended: by an exit code, with its container, or, `lost`, as the connection to Docker broke. */
export type ShellEnd = number | 'container_stopped' | 'lost';

/** What a session needs of its surroundings. */
interface SessionDoing {
  /** Shared by all that send. */
  readonly turns: OutputTurns;
  /** Ends the shell and all that it started. */
  hangUp(): Promise<void>;
  /** The reason of an end that nobody here asked for. */
  explain(end: ShellEnd): Promise<Pick<TerminalExit, 'reason' | 'detail'>>;
  /** Somebody types. */
  onUse(): void;
  onError(error: unknown): void;
}

/** Where a client comes in. */
export interface AttachOptions {
  /** The offset up to which it has the output. */
  readonly after?: number | undefined;
  readonly size: TerminalSize;
  /** Takes the place of who writes. */
  readonly takeover?: boolean | undefined;
}

/** What a client is told first. */
export interface Attached {
  readonly attachment: Attachment;
  /** Of the first byte that it is sent. */
  readonly offset: number;
  /** Whether what it has not seen begins before that. */
  readonly gap: boolean;
}

/**
 * A shell with a terminal, and its clients: one writes, the others watch.
 *
 * Its output is read as fast as the writer takes it, so what is not taken waits in the container, and costs no memory
 * here. While nobody writes, it is read slowly: a program goes on, and its last output is kept. Who does not take it
 * for a while is detached, as a dead program that nobody reads would hold up its container.
 */
export class TerminalSession {
  /** Settles when the shell has ended and its clients know. */
  readonly ended: Promise<TerminalExit>;

  private readonly ring = new OutputRing(RING_BYTES);
  private readonly attachments = new Set<Attachment>();
  /** Goes on with the run, where it waits. */
  private wake = doNothing;
  private readonly times: Required<TerminalTimes>;
  private detached: NodeJS.Timeout | undefined;
  private ending: Omit<TerminalExit, 'code'> | null = null;
  private isOver = false;
  /** To come, in order. */
  private sizes: TerminalSize[] = [];
  private isResizing = false;

  constructor(
    readonly facts: TerminalFacts,
    private readonly shell: ContainerProcess,
    private readonly doing: SessionDoing,
    { detachedMs = DETACHED_MS, stallMs = STALL_MS }: TerminalTimes = {},
  ) {
    this.times = { detachedMs, stallMs };
    // Of input that a shell which has ended does not take.
    shell.stdin?.on('error', () => undefined);
    this.watchDetached();
    this.ended = this.run();
  }

  get id(): string {
    return this.facts.id;
  }

  get clients(): number {
    return this.attachments.size;
  }

  /**
   * The first client, and who takes over, writes; the others watch.
   *
   * @throws DomainError `too_many_connections`; `terminal_not_found` if it has just ended; `invalid_parameters` if
   *   `after` is ahead of the output
   */
  attach(outlet: TerminalOutlet, { after = 0, size, takeover = false }: AttachOptions): Attached {
    if (this.isOver || this.ending !== null) throw new DomainError('terminal_not_found');
    if (this.attachments.size >= MAX_CLIENTS) throw new DomainError('too_many_connections');
    if (after > this.ring.end) {
      throw invalidParameters([{ field: 'after', message: 'is ahead of the output', max: this.ring.end }]);
    }
    const offset = Math.max(after, this.ring.start);
    const attachment: Attachment = new Attachment(outlet, this.ring, this.doing.turns, {
      after: offset,
      size,
      stallMs: this.times.stallMs,
      staleBytes: Math.min(after, WINDOW_BYTES),
      onRoom: () => this.wake(),
      onStalled: () => {
        this.detach(attachment);
        outlet.drop();
      },
    });
    clearTimeout(this.detached);
    this.attachments.add(attachment);
    const { writer } = this;
    if (!writer || takeover) this.makeWriter(attachment);
    return { attachment, offset, gap: after < offset };
  }

  /** Begins the client's output; to be called once it knows that it is attached. */
  begin(attachment: Attachment): void {
    const isReplay = this.ring.end > 0;
    attachment.begin();
    if (attachment.role !== 'writer') return;
    const { size } = attachment;
    // A full-screen program draws anew only where the size has changed.
    if (isReplay) this.resizeTo({ columns: size.columns, rows: size.rows > 1 ? size.rows - 1 : 2 });
    this.resizeTo(size);
  }

  /** It goes on without the client; nobody becomes the writer by that. */
  detach(attachment: Attachment): void {
    attachment.close();
    if (!this.attachments.delete(attachment)) return;
    this.wake();
    if (this.attachments.size === 0) this.watchDetached();
  }

  /** Makes the client the one who writes. */
  takeOver(attachment: Attachment): void {
    if (attachment.role === 'writer' || !this.attachments.has(attachment)) return;
    this.makeWriter(attachment);
    attachment.outlet.role('writer');
    this.resizeTo(attachment.size);
  }

  /** @returns `full` where the shell does not read: the input is not taken */
  input(attachment: Attachment, bytes: Buffer): 'taken' | 'not_writer' | 'full' {
    if (attachment.role !== 'writer') return 'not_writer';
    const { stdin } = this.shell;
    if (stdin === null || !stdin.writable) return 'taken';
    if (stdin.writableLength + bytes.length > MAX_INPUT_WAITING) return 'full';
    this.doing.onUse();
    stdin.write(bytes);
    return 'taken';
  }

  /** The terminal follows who writes. */
  resize(attachment: Attachment, size: TerminalSize): void {
    attachment.size = size;
    if (attachment.role === 'writer') this.resizeTo(size);
  }

  /** Ends the shell with all that it started. Settles when its clients know. Never throws. */
  async end(reason: TerminalExit['reason'], detail?: string): Promise<void> {
    if (this.isOver) return;
    if (this.ending === null) {
      this.ending = detail === undefined ? { reason } : { reason, detail };
      this.wake();
      await this.doing.hangUp().catch((error: unknown) => this.doing.onError(error));
      // What could not be ended, or holds on to the terminal.
      this.shell.close();
    }
    await this.ended;
  }

  private get writer(): Attachment | undefined {
    for (const attachment of this.attachments) if (attachment.role === 'writer') return attachment;
    return undefined;
  }

  private makeWriter(attachment: Attachment): void {
    const former = this.writer;
    attachment.role = 'writer';
    if (former) {
      former.role = 'watcher';
      former.outlet.role('watcher');
    }
    this.wake();
  }

  private watchDetached(): void {
    clearTimeout(this.detached);
    if (this.isOver) return;
    this.detached = setTimeout(() => void this.end('detached'), this.times.detachedMs).unref();
  }

  private async run(): Promise<TerminalExit> {
    let unwatched = 0;
    for await (const { data } of this.shell.output) {
      this.ring.write(data);
      for (const attachment of this.attachments) attachment.flush();
      while (this.isHeldUp((writer) => writer.isBehind)) await this.change();
      if (this.writer || this.ending !== null) unwatched = 0;
      else unwatched += data.length;
      if (unwatched < UNWATCHED_BYTES) continue;
      unwatched = 0;
      const until = performance.now() + UNWATCHED_PAUSE_MS;
      while (!this.writer && this.ending === null && performance.now() < until) {
        await this.change(until - performance.now());
      }
    }
    while (this.isHeldUp((writer) => !writer.isUpToDate)) await this.change();
    const exit = await this.findExit();
    this.isOver = true;
    clearTimeout(this.detached);
    for (const attachment of [...this.attachments]) {
      attachment.finish();
      attachment.close();
      attachment.outlet.exit(exit);
    }
    this.attachments.clear();
    this.shell.close();
    return exit;
  }

  private async findExit(): Promise<TerminalExit> {
    const end = await this.shell.exit().then(
      ({ exitCode }): ShellEnd => exitCode,
      (error: unknown): ShellEnd => (saysNotRunning(error) ? 'container_stopped' : 'lost'),
    );
    if (this.ending !== null) return { code: null, ...this.ending };
    const code = typeof end === 'number' ? end : null;
    try {
      const why = await this.doing.explain(end);
      // Meanwhile it may have been ended here.
      return { code: why.reason === 'exited' ? code : null, ...why };
    } catch (error) {
      this.doing.onError(error);
      return { code, reason: typeof end === 'number' ? 'exited' : end };
    }
  }

  /** @param isBehind the writer, whom the output waits for */
  private isHeldUp(isBehind: (writer: Attachment) => boolean): boolean {
    const { writer } = this;
    return writer !== undefined && this.ending === null && isBehind(writer);
  }

  /** Until something may be different, or for `atMostMs`. */
  private change(atMostMs?: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = atMostMs === undefined ? undefined : setTimeout(() => this.wake(), atMostMs).unref();
      this.wake = () => {
        clearTimeout(timer);
        this.wake = doNothing;
        resolve();
      };
    });
  }

  /** One call at a time; of sizes that come meanwhile, the last two. */
  private resizeTo(size: TerminalSize): void {
    this.sizes = [...this.sizes.slice(-1), size];
    if (!this.isResizing) void this.applySizes();
  }

  private async applySizes(): Promise<void> {
    this.isResizing = true;
    const release = this.holdInput();
    for (let size = this.sizes.shift(); size && !this.isOver; size = this.sizes.shift()) {
      await this.shell.resize(size).catch((error: unknown) => this.doing.onError(error));
    }
    this.isResizing = false;
    release();
  }

  /** What is typed after a change of the size finds it changed, unless Docker takes long. @returns lets it go on */
  private holdInput(): () => void {
    const { stdin } = this.shell;
    let isHeld = stdin !== null;
    stdin?.cork();
    const release = (): void => {
      clearTimeout(timer);
      if (isHeld) stdin?.uncork();
      isHeld = false;
    };
    const timer = setTimeout(release, INPUT_HELD_MS).unref();
    return release;
  }
}

function doNothing(): void {
  // Nobody waits.
}
