import type { ContainerProcess } from '../../docker';
import { DomainError } from '../../errors';
import { within } from '../../scheduling';
import type { HeldProgramEntity } from '../program-registry';
import { RetainedOutput } from './retained-output';

/**
 * Why a process has ended:
 *
 * - `exited`: by itself or by a signal.
 * - `ended`: by request, for lack of exec access, or because another start command replaced it.
 * - `container_stopped`: with its container.
 * - `lost`: the connection to its streams broke, as at a restart of Docker.
 */
export const PROCESS_ENDS = ['exited', 'ended', 'container_stopped', 'lost'] as const;

export interface ProcessEnd {
  readonly reason: (typeof PROCESS_ENDS)[number];
  /** null if the exit code is not known. */
  readonly exitCode: number | null;
  readonly at: Date;
}

/** Maximum input that waits for a process that does not read, in bytes; more is refused. */
const UNREAD_INPUT_BYTES = 256 * 1024;

/** A process in a container, with its streams, that this Berth process holds or has held. */
export class BackgroundProcess {
  readonly output = new RetainedOutput();
  end: ProcessEnd | null = null;
  /**
   * Whether the process is being ended: by request, for lack of exec access, or because another start command replaces
   * it.
   */
  isEndWanted = false;
  private readonly waiting = new Set<() => void>();
  private readonly endListeners: (() => void)[] = [];

  constructor(
    readonly entry: HeldProgramEntity,
    readonly program: ContainerProcess,
    /** With its arguments, which may contain secrets: only for its user, and in no row and no event. */
    readonly command: readonly string[],
  ) {}

  /** Reads the output to its end, without waiting for any client. */
  async readOutput(): Promise<void> {
    for await (const output of this.program.output) {
      this.output.write(output);
      this.wake();
    }
  }

  finish(end: ProcessEnd): void {
    this.end = end;
    this.program.close();
    this.wake();
    for (const listener of this.endListeners) listener();
  }

  /** Calls back when the process has ended, at once if it has already. */
  onEnd(listener: () => void): void {
    if (this.end !== null) listener();
    else this.endListeners.push(listener);
  }

  /**
   * Resolves when the process has written more than `bytes` in all, has ended, or `ms` have passed; {@link wake}
   * resolves it earlier.
   */
  async changedSince(bytes: number, ms: number): Promise<void> {
    if (this.output.bytes > bytes || this.end !== null) return;
    let wake: () => void = () => undefined;
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
      this.waiting.add(wake);
    });
    await within(woken, { ms }).catch(() => undefined);
    this.waiting.delete(wake);
  }

  /** Resolves when the process has ended, or `ms` have passed. */
  async ended(ms: number): Promise<void> {
    const deadline = performance.now() + ms;
    while (this.end === null && performance.now() < deadline) {
      await this.changedSince(Infinity, deadline - performance.now());
    }
  }

  /** Wakes all waiting callers, so that they check again. */
  wake(): void {
    for (const wake of this.waiting) wake();
  }

  /** @throws DomainError `process_ended`, `stdin_closed`, `stdin_full` */
  write(data: Buffer, { close }: { close: boolean }): void {
    const { stdin } = this.program;
    if (this.end !== null) throw new DomainError('process_ended');
    if (stdin === null || stdin.writableEnded || stdin.destroyed) throw new DomainError('stdin_closed');
    if (stdin.writableLength + data.length > UNREAD_INPUT_BYTES) throw new DomainError('stdin_full');
    if (data.length > 0) stdin.write(data);
    if (close) stdin.end();
  }
}

/** How long, and how many, ended processes can still be read. */
const ENDED_FOR_MS = 5 * 60_000;
const MOST_ENDED_OF_CONTAINER = 16;
const MOST_ENDED = 64;

/** The processes that this Berth process holds, and those that ended lately. */
export class KeptProcesses {
  private readonly byId = new Map<string, BackgroundProcess>();

  add(kept: BackgroundProcess): void {
    this.byId.set(kept.entry.id, kept);
  }

  get(containerId: string, id: string): BackgroundProcess | null {
    const kept = this.byId.get(id);
    return kept?.entry.containerId === containerId ? kept : null;
  }

  of(containerId: string): BackgroundProcess[] {
    return this.all().filter(({ entry }) => entry.containerId === containerId);
  }

  all(): BackgroundProcess[] {
    return [...this.byId.values()];
  }

  forget({ entry }: BackgroundProcess): void {
    this.byId.delete(entry.id);
  }

  /**
   * Called when a process has ended. Forgets it after a while, and at once those that ended first if there are too
   * many.
   */
  noteEnd(kept: BackgroundProcess): void {
    setTimeout(() => this.forget(kept), ENDED_FOR_MS).unref();
    this.forgetAbove(MOST_ENDED_OF_CONTAINER, this.of(kept.entry.containerId));
    this.forgetAbove(MOST_ENDED, this.all());
  }

  private forgetAbove(most: number, among: readonly BackgroundProcess[]): void {
    const ended = among.filter(({ end }) => end !== null);
    ended.sort((a, b) => (a.end?.at.getTime() ?? 0) - (b.end?.at.getTime() ?? 0));
    for (const kept of ended.slice(0, Math.max(0, ended.length - most))) this.forget(kept);
  }
}
