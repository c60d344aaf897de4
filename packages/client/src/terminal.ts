import type * as api from './api-types.ts';
import type { BerthError } from './errors.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { LiveSocket } from './live-socket.ts';
import { inputRefused, TerminalInput } from './terminal-input.ts';

export interface TerminalOptions {
  /** 80 if absent. */
  readonly cols?: number;
  /** 24 if absent. */
  readonly rows?: number;
  /** The session of an open terminal; if absent, a new one is opened. */
  readonly session?: string;
  /** What a new terminal runs; the login shell if absent. The terminal ends with it, with its exit code. */
  readonly program?: TerminalProgram;
  /** With `session`: the offset up to which its output is already known. */
  readonly after?: number;
  /** Makes this client the writer, and the previous writer a watcher. */
  readonly takeover?: boolean;
  /**
   * Called for each piece of output, which may split characters. The returned promise is awaited before the piece is
   * acknowledged, so a program that writes too fast is slowed down.
   */
  readonly onOutput: (bytes: Uint8Array) => void | Promise<void>;
  /**
   * Called after each attachment, including the first. `gap`: part of the earlier output is lost, so clear the
   * screen.
   */
  readonly onAttached?: (attached: Attached) => void;
  readonly onRole?: (role: TerminalRole) => void;
  /** The connection broke. It is restored automatically; `onAttached` follows. */
  readonly onInterrupted?: () => void;
  /**
   * Maximum milliseconds that input waits for a server that does not answer. After that, it is dropped together with
   * all input until the server answers again, and `write` rejects. If absent, input waits without a limit.
   */
  readonly dropInputAfterMs?: number;
}

/** A program of a new terminal; without `cwd` and `user`, the image's own. */
export interface TerminalProgram {
  /** The program and its arguments; no shell interprets them. */
  readonly command: readonly string[];
  readonly cwd?: string;
  /** Variables that are added to the container's, and take precedence. */
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: string;
}

export type TerminalRole = 'writer' | 'watcher';

export interface Attached {
  readonly session: string;
  /** Offset of the next output. */
  readonly offset: number;
  readonly gap: boolean;
  readonly role: TerminalRole;
}

/** `reason` is `lost` also if the terminal was gone after a reconnection, and `detached` after `detach()`. */
export interface TerminalEnd {
  readonly code: number | null;
  readonly reason: string;
  readonly detail?: string;
}

/**
 * A shell or another program in a container. It survives broken connections and `detach()`: its session can be attached
 * to again.
 */
export class Terminal implements Disposable {
  /** Resolves with the first attachment. @throws BerthError if the server refuses it */
  readonly opened: Promise<Attached>;
  /** Resolves when the terminal has ended or was detached. @throws BerthError if the server refuses to attach again */
  readonly ended: Promise<TerminalEnd>;
  private session: string | undefined;
  private offset: number | undefined;
  private currentRole: TerminalRole | null = null;
  private size: { readonly cols: number; readonly rows: number };
  private readonly socket: LiveSocket;
  private settleOpened!: { resolve: (attached: Attached) => void; reject: (error: Error) => void };
  private settleEnded!: { resolve: (end: TerminalEnd) => void; reject: (error: Error) => void };
  private readonly input: TerminalInput;

  constructor(
    http: Http,
    container: string,
    private readonly options: TerminalOptions,
  ) {
    this.opened = new Promise((resolve, reject) => (this.settleOpened = { resolve, reject }));
    this.ended = new Promise((resolve, reject) => (this.settleEnded = { resolve, reject }));
    // Keeps a promise that the caller does not await from being unhandled.
    this.opened.catch(() => undefined);
    this.ended.catch(() => undefined);
    this.size = { cols: options.cols ?? 80, rows: options.rows ?? 24 };
    this.session = options.session;
    this.offset = options.after;
    this.socket = new LiveSocket(http, {
      namespace: '/terminal',
      auth: () => ({
        container,
        ...this.size,
        session: this.session,
        program: this.session === undefined ? options.program : undefined,
        after: this.session === undefined ? undefined : this.offset,
        takeover: options.takeover === true || this.currentRole === 'writer',
      }),
      onRefused: (error) => this.refused(error),
      onInterrupted: () => options.onInterrupted?.(),
    });
    const { io } = this.socket;
    this.input = new TerminalInput(io, options.dropInputAfterMs);
    io.on('attached', (attached: Attached) => this.attached(attached));
    io.on('output', (offset: number, bytes: ArrayBuffer | Uint8Array) => void this.output(offset, bytes));
    io.on('role', ({ role }: { role: TerminalRole }) => this.become(role));
    io.on('exit', (end: TerminalEnd) => this.end(end));
  }

  /** The session, for attaching again, also from another connection; undefined before the terminal is opened. */
  get id(): string | undefined {
    return this.session;
  }

  /** The role of this client; null before the terminal is opened. */
  get role(): TerminalRole | null {
    return this.currentRole;
  }

  /** The offset up to which output has arrived: the `after` of a later attachment. */
  get position(): number {
    return this.offset ?? 0;
  }

  /**
   * Types data. Resolves when the server has accepted it; waits while the shell does not read, and while the
   * connection is broken.
   *
   * @throws BerthError `unexpected_answer` if another client is the writer or the terminal has ended;
   *   `connection_failed` if the data was dropped (`dropInputAfterMs`)
   */
  write(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
    const typed = this.input.write(bytes);
    // A caller that does not await it learns of the end from `ended`.
    typed.catch(() => undefined);
    return typed;
  }

  resize(cols: number, rows: number): void {
    this.size = { cols, rows };
    // Otherwise, the next handshake includes the size.
    if (this.socket.io.connected) this.socket.io.emit('resize', this.size);
  }

  /** Makes this client the writer. */
  takeOver(): void {
    this.socket.io.emit('takeover');
  }

  /** Leaves the terminal open. Input that is not yet sent is lost. */
  detach(): void {
    this.end({ code: null, reason: 'detached' });
  }

  [Symbol.dispose](): void {
    this.detach();
  }

  private attached(attached: Attached): void {
    this.session = attached.session;
    this.offset = attached.offset;
    this.become(attached.role);
    this.options.onAttached?.(attached);
    this.input.attached();
    this.settleOpened.resolve(attached);
  }

  private async output(offset: number, data: ArrayBuffer | Uint8Array): Promise<void> {
    const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
    this.offset = offset + bytes.length;
    await this.options.onOutput(bytes);
    this.socket.io.emit('ack', bytes.length);
  }

  private become(role: TerminalRole): void {
    if (this.currentRole === role) return;
    this.currentRole = role;
    this.options.onRole?.(role);
  }

  private refused(error: BerthError): void {
    const wasOpen = this.currentRole !== null;
    if (wasOpen && (error.code === 'terminal_not_found' || error.code === 'container_not_running')) {
      this.end({ code: null, reason: 'lost' });
      return;
    }
    this.settleOpened.reject(error);
    this.settleEnded.reject(error);
    this.end({ code: null, reason: 'lost' });
  }

  private end(end: TerminalEnd): void {
    this.settleEnded.resolve(end);
    this.settleOpened.reject(inputRefused('the terminal was detached before it was opened'));
    this.input.close();
    this.socket.close();
  }
}

/** Open terminals of a container, attached or not. */
export class Terminals {
  constructor(private readonly http: Http) {}

  async list(id: string, { signal }: CallOptions = {}): Promise<api.TerminalView[]> {
    const route = path`/api/containers/${id}/terminals`;
    return (await this.http.json<api.TerminalListView>('GET', route, { signal })).terminals;
  }

  /**
   * Attaches to an open terminal, also to another client's; all output that is kept comes first.
   *
   * @param options after: the `position` up to which the output is already known
   */
  attach(id: string, session: string, options: Omit<TerminalOptions, 'session'>): Terminal {
    return new Terminal(this.http, id, { ...options, session });
  }

  /** Ends a terminal and all programs that were started in it. */
  end(id: string, session: string, { signal }: CallOptions = {}): Promise<api.TerminalEndedView> {
    return this.http.json('DELETE', path`/api/containers/${id}/terminals/${session}`, { signal });
  }
}
