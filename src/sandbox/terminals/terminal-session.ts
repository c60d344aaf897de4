import { type ContainerProcess, endOf, type TerminalSize, wasKilled } from '../../engine';
import { DomainError, invalidParameters } from '../../errors';
import { untilAborted } from '../../scheduling';
import { OutputRing } from './output-ring';
import { Attachment, type TerminalExit, type TerminalOutlet, WINDOW_BYTES, type OutputTurns } from './attachment';

/** How much of the last output is replayed to a client that attaches, in bytes. */
export const RING_BYTES = 256 * 1024;

/** Without a writer, a flood of output is read at this pace: 1 MiB/s. */
const UNWATCHED_BYTES = 256 * 1024;
export const UNWATCHED_PAUSE_MS = 250;

/**
 * How long input waits for a new shell's first prompt, or for a resize of the terminal that was requested before.
 * Before its prompt, a shell does not handle signals, and Ctrl-C would kill it.
 */
const INPUT_HELD_MS = 1_000;
/** How long a new shell pauses after its prompt. Busybox writes a banner before. */
const PROMPT_QUIET_MS = 100;

/** How long a shell that has ended waits for the client that it was looked up for. */
const COMES_WITHIN_MS = 5_000;

/** Maximum input that waits for a shell that does not read, in bytes. */
export const MAX_INPUT_WAITING = 1024 * 1024;

/** Maximum clients of a session: enough for one person's windows. Each costs memory for its output. */
export const MAX_CLIENTS = 16;

/** Times in milliseconds, which tests shorten. */
export interface TerminalTimes {
  /** How long a client may go without a sign of progress on its output. */
  readonly stallMs?: number;
}

const STALL_MS = 30_000;

interface SessionOptions extends TerminalTimes {
  /** Whether another server process may have a writer. */
  readonly isHeldElsewhere?: boolean;
  /** Whether a client comes, who is to be told the end also of a shell that has ended. */
  readonly awaitsClient?: boolean;
}

interface TerminalFacts {
  readonly id: string;
  readonly containerId: string;
  readonly userId: string;
  readonly engineId: string;
  readonly startedAt: Date;
}

/** What a session needs from its owner. */
interface SessionDoing {
  /** Shared by all clients of all sessions. */
  readonly turns: OutputTurns;
  /** Kills the shell and all that it started. */
  hangUp(): Promise<void>;
  /** Finds the reason of an end that this session did not ask for, and that Docker reports as `seen`. */
  explain(seen: 'exited' | 'container_stopped' | 'lost'): Promise<Pick<TerminalExit, 'reason' | 'detail'>>;
  /** Called when the last client has gone: the session is of no more use, but the terminal goes on. */
  onUnattended(): void;
  /** Called when a client has become the writer. */
  onWriter(): void;
  /** Called at each input. */
  onUse(): void;
  onError(error: unknown): void;
}

/** How a client attaches. */
export interface AttachOptions {
  /** The offset up to which the client already has the output. */
  readonly after?: number | undefined;
  readonly size: TerminalSize;
  /** How long the client may go without a sign of progress on its output; by default as all of them. */
  readonly stallMs?: number | undefined;
  /** Makes the client the writer in place of the present one, also of one at another server process. */
  readonly takeover?: boolean | undefined;
}

/** What a client is told first: its place in the output. */
export interface Attached {
  readonly attachment: Attachment;
  /** The offset of the first byte that the client gets. */
  readonly offset: number;
  /** Whether output that the client has not seen before that offset is lost. */
  readonly gap: boolean;
}

/**
 * A shell with a terminal, and its clients at this server process: one writes, the others watch. The shell itself is
 * its sandbox's, and may have other sessions at other server processes.
 *
 * The output is read as fast as the writer takes it. Output that the writer does not take waits in the container, and
 * costs no memory here. Without a writer, the output is read slowly for those who watch. A client that takes no
 * output for a while is detached, because a dead client would hold up the container for ever.
 */
export class TerminalSession {
  /**
   * Settles when the shell has ended and its clients have been told, or this session of it is over. null if the shell
   * goes on.
   */
  readonly ended: Promise<TerminalExit | null>;
  /** Settles when the output that the shell had written before this session began has been read. */
  readonly replayed: Promise<void>;

  private readonly ring: OutputRing;
  private readonly attachments = new Set<Attachment>();
  /** Wakes `run`, if it waits. */
  private wake = doNothing;
  private readonly times: Required<TerminalTimes>;
  /** Whether another server process may have a writer. */
  private isHeldElsewhere: boolean;
  /** Whether the first client has yet to come. */
  private isAwaited: boolean;
  private noteReplayed = doNothing;
  private ending: Omit<TerminalExit, 'code'> | null = null;
  /** Aborted when `ending` is set: no other reason is sought any more. */
  private readonly endRequested = new AbortController();
  private isOver = false;
  /** Why the shell goes on without this session. */
  private released: 'server_stopped' | 'unattended' | null = null;
  /** Sizes that are still to be applied, in order. */
  private sizes: TerminalSize[] = [];
  private isResizing = false;

  constructor(
    readonly facts: TerminalFacts,
    private readonly shell: ContainerProcess,
    private readonly doing: SessionDoing,
    { stallMs = STALL_MS, isHeldElsewhere = false, awaitsClient = false }: SessionOptions = {},
  ) {
    this.times = { stallMs };
    this.isHeldElsewhere = isHeldElsewhere;
    this.isAwaited = awaitsClient;
    this.ring = new OutputRing(RING_BYTES, shell.from);
    this.replayed = new Promise((resolve) => (this.noteReplayed = resolve));
    if (shell.from >= shell.to) this.noteReplayed();
    // Writing to a shell that has ended fails; `run` handles that end.
    shell.stdin?.on('error', () => undefined);
    // Only a new shell has a first prompt to come.
    this.ended = this.run(shell.to === 0 ? this.holdInput().releaseOnceQuiet : doNothing);
  }

  get id(): string {
    return this.facts.id;
  }

  /** Whether clients can attach. */
  get isOpen(): boolean {
    return !this.isOver && !this.isEnding;
  }

  get clients(): number {
    return this.attachments.size;
  }

  /**
   * Attaches a client. The first one, and one that takes over, writes; the others watch.
   *
   * @throws DomainError `too_many_connections`; `terminal_not_found` if the session has just ended;
   *   `invalid_parameters` if `after` is ahead of the output
   */
  attach(
    outlet: TerminalOutlet,
    { after = 0, size, takeover = false, stallMs = this.times.stallMs }: AttachOptions,
  ): Attached {
    if (!this.isOpen) throw new DomainError('terminal_not_found');
    if (this.attachments.size >= MAX_CLIENTS) throw new DomainError('too_many_connections');
    if (after > this.ring.end) {
      throw invalidParameters([{ field: 'after', message: 'is ahead of the output', max: this.ring.end }]);
    }
    const offset = Math.max(after, this.ring.start);
    const attachment: Attachment = new Attachment(outlet, this.ring, this.doing.turns, {
      after: offset,
      size,
      stallMs,
      staleBytes: Math.min(after, WINDOW_BYTES),
      onRoom: () => this.wake(),
      onStalled: () => {
        this.detach(attachment);
        outlet.drop();
      },
    });
    this.attachments.add(attachment);
    this.isAwaited = false;
    this.wake();
    const isFree = this.writer === undefined && !this.isHeldElsewhere;
    if (isFree || takeover) this.makeWriter(attachment);
    return { attachment, offset, gap: after < offset };
  }

  /** Begins the client's output. Called after the client was told that it is attached. */
  begin(attachment: Attachment): void {
    const isReplay = this.ring.end > 0;
    attachment.begin();
    if (attachment.role !== 'writer') return;
    const { size } = attachment;
    // A full-screen program redraws only when the size has changed, so the size is changed twice.
    if (isReplay) this.resizeTo({ columns: size.columns, rows: size.rows > 1 ? size.rows - 1 : 2 });
    this.resizeTo(size);
  }

  /** Detaches a client. The session continues; if the client was the writer, no other client becomes the writer. */
  detach(attachment: Attachment): void {
    attachment.close();
    if (!this.attachments.delete(attachment)) return;
    this.wake();
    if (this.attachments.size === 0 && !this.isOver && this.ending === null) this.doing.onUnattended();
  }

  /** Makes the client the writer. */
  takeOver(attachment: Attachment): void {
    if (attachment.role === 'writer' || !this.attachments.has(attachment)) return;
    this.makeWriter(attachment);
    attachment.outlet.role('writer');
    this.resizeTo(attachment.size);
  }

  /** A client at another server process has become the writer. */
  yieldWriter(): void {
    this.isHeldElsewhere = true;
    const { writer } = this;
    if (!writer) return;
    writer.role = 'watcher';
    writer.outlet.role('watcher');
    this.wake();
  }

  /** Ends this session, while the shell goes on. Its clients can come back, to any server process. */
  release(why: 'server_stopped' | 'unattended'): void {
    if (this.isOver || this.isEnding) return;
    this.released = why;
    this.wake();
    this.shell.close();
  }

  /** @returns `full` if too much input waits for the shell: this input is dropped */
  input(attachment: Attachment, bytes: Buffer): 'taken' | 'not_writer' | 'full' {
    if (attachment.role !== 'writer') return 'not_writer';
    const { stdin } = this.shell;
    if (stdin === null || !stdin.writable) return 'taken';
    if (stdin.writableLength + bytes.length > MAX_INPUT_WAITING) return 'full';
    this.doing.onUse();
    stdin.write(bytes);
    return 'taken';
  }

  /** Notes a client's size. The terminal has the writer's size. */
  resize(attachment: Attachment, size: TerminalSize): void {
    attachment.size = size;
    if (attachment.role === 'writer') this.resizeTo(size);
  }

  /** Ends the shell with all that it started. Settles when the clients know. Never throws. */
  async end(reason: TerminalExit['reason'], detail?: string): Promise<void> {
    if (this.isOver || this.released !== null) return;
    if (this.ending === null) {
      this.ending = detail === undefined ? { reason } : { reason, detail };
      this.endRequested.abort();
      this.wake();
      await this.doing.hangUp().catch((error: unknown) => this.doing.onError(error));
      // Closes the connection to a shell that could not be killed, or to programs that keep the terminal open.
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
    this.isHeldElsewhere = false;
    attachment.role = 'writer';
    if (former) {
      former.role = 'watcher';
      former.outlet.role('watcher');
    }
    this.doing.onWriter();
    this.wake();
  }

  /** @param onOutput called at each output */
  private async run(onOutput: () => void): Promise<TerminalExit | null> {
    let unwatched = 0;
    for await (const { data } of this.shell.output) {
      onOutput();
      this.ring.write(data);
      if (this.ring.end < this.shell.to) continue;
      this.noteReplayed();
      for (const attachment of this.attachments) attachment.flush();
      while (this.isHeldUp((writer) => writer.isBehind)) await this.change();
      if (this.writer || this.isEnding) unwatched = 0;
      else unwatched += data.length;
      if (unwatched < UNWATCHED_BYTES) continue;
      unwatched = 0;
      const until = performance.now() + UNWATCHED_PAUSE_MS;
      while (!this.writer && !this.isEnding && performance.now() < until) {
        await this.change(until - performance.now());
      }
    }
    this.noteReplayed();
    if (this.isAwaited && !this.isEnding) await this.change(COMES_WITHIN_MS);
    while (this.isHeldUp((writer) => !writer.isUpToDate)) await this.change();
    const exit = this.released === null ? await this.findExit() : RELEASED;
    this.isOver = true;
    for (const attachment of [...this.attachments]) {
      attachment.finish();
      attachment.close();
      attachment.outlet.exit(exit);
    }
    this.attachments.clear();
    this.shell.close();
    return exit === RELEASED || exit.reason === 'lost' ? null : exit;
  }

  private get isEnding(): boolean {
    return this.ending !== null || this.released !== null;
  }

  private async findExit(): Promise<TerminalExit> {
    if (this.ending !== null) return { code: null, ...this.ending };
    const { signal } = this.endRequested;
    try {
      return await untilAborted(this.ownExit(), { signal, aborted: () => new Error('end requested') });
    } catch {
      return this.findExit();
    }
  }

  /** How the shell has ended without a request of this session. Never rejects. */
  private async ownExit(): Promise<TerminalExit> {
    const end = await endOf(this.shell);
    const exit =
      end.kind === 'exited'
        ? { code: end.code, reason: end.kind }
        : { code: null, reason: end.kind === 'lost' ? end.kind : ('container_stopped' as const) };
    if (end.kind === 'exited' && !wasKilled(end.code)) return exit;
    try {
      const why = await this.doing.explain(exit.reason);
      // Only a shell that exited by itself has an exit code of its own.
      return { code: why.reason === 'exited' ? exit.code : null, ...why };
    } catch (error) {
      this.doing.onError(error);
      return exit;
    }
  }

  /** @returns whether the output has to wait for the writer */
  private isHeldUp(isBehind: (writer: Attachment) => boolean): boolean {
    const { writer } = this;
    return writer !== undefined && !this.isEnding && isBehind(writer);
  }

  /** Waits until `wake` is called, or for `atMostMs`. */
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

  /**
   * Resizes the terminal, with one call to Docker at a time. Of the sizes that come meanwhile, the last two are kept.
   */
  private resizeTo(size: TerminalSize): void {
    this.sizes = [...this.sizes.slice(-1), size];
    if (!this.isResizing) void this.applySizes();
  }

  private async applySizes(): Promise<void> {
    this.isResizing = true;
    const { release } = this.holdInput();
    for (let size = this.sizes.shift(); size && !this.isOver; size = this.sizes.shift()) {
      await this.shell.resize(size).catch((error: unknown) => this.doing.onError(error));
    }
    this.isResizing = false;
    release();
  }

  /**
   * Holds input back, at most for {@link INPUT_HELD_MS}.
   *
   * @returns functions that release the input: at once; or, called at each output, once there is none for
   *   {@link PROMPT_QUIET_MS}. Further calls do nothing
   */
  private holdInput(): { release: () => void; releaseOnceQuiet: () => void } {
    const { stdin } = this.shell;
    let isHeld = stdin !== null;
    let quiet: NodeJS.Timeout | undefined;
    stdin?.cork();
    const release = (): void => {
      clearTimeout(timer);
      clearTimeout(quiet);
      if (isHeld) stdin?.uncork();
      isHeld = false;
    };
    const timer = setTimeout(release, INPUT_HELD_MS).unref();
    const releaseOnceQuiet = (): void => {
      if (isHeld) quiet = quiet?.refresh() ?? setTimeout(release, PROMPT_QUIET_MS).unref();
    };
    return { release, releaseOnceQuiet };
  }
}

/** What clients of a released session are told. */
const RELEASED: TerminalExit = { code: null, reason: 'server_stopped' };

function doNothing(): void {
  // Nothing waits.
}
