import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { OpenConnections } from '../../auth';
import { NodesAdmin } from '../../containers';
import { ContainerEngine, type ContainerProcess, EngineError, endOf, nodeOf, saysNotRunning } from '../../engine';
import { LOGGER, type Logger } from '../../logging';
import { FairLimiter, retryUntilClosed } from '../../scheduling';
import { type ProcessEnd, type ProcessRow, ProcessRows } from './process-rows';

/** Delays before a sandbox that does not answer is tried again; each is twice the one before. */
const BACK_OFF_MS = { first: 250, longest: 15_000 } as const;

/** Concurrent attachments after a start of the server. */
const ATTACHING_AT_ONCE = 8;

const GRACE_MS = 5_000;

/**
 * This server process's own readers of processes, which see their ends. Connections that break are restored, so a
 * process is followed until it has ended.
 */
@Injectable()
export class ProcessWatch implements OnModuleDestroy {
  private readonly closing = new AbortController();
  private readonly readers = new Map<string, ContainerProcess>();
  private readonly limiter = new FairLimiter({ atOnce: ATTACHING_AT_ONCE, perKey: 1 });

  constructor(
    private readonly engine: ContainerEngine,
    private readonly rows: ProcessRows,
    private readonly connections: OpenConnections,
    private readonly nodes: NodesAdmin,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    // Every process may wait with this signal, and Node.js reports the eleventh listener as a leak.
    setMaxListeners(0, this.closing.signal);
  }

  get isClosing(): boolean {
    return this.closing.signal.aborted;
  }

  /** The processes go on; the next server process takes over the rows. */
  onModuleDestroy(): void {
    this.closing.abort();
    for (const reader of this.readers.values()) reader.close();
  }

  /**
   * Follows a process until it has ended. It is ended if its user's tier loses exec access.
   *
   * @param program a reader of it with its input; null to attach to it
   * @returns null if this server process is closing
   */
  async untilEnd(row: ProcessRow, program: ContainerProcess | null = null): Promise<ProcessEnd | null> {
    const remove = this.connections.add({
      execBy: row.userId,
      isRetried: true,
      end: () => void this.end(row).catch((error: unknown) => this.note(row, error)),
    });
    let reader = program;
    try {
      for (let pause = BACK_OFF_MS.first as number; !this.isClosing; pause = Math.min(2 * pause, BACK_OFF_MS.longest)) {
        try {
          reader ??= await this.limiter.run(row.engineId, () => this.attach(row));
          const end = await this.read(row, reader);
          if (end) return end;
          // The connection was there: the next attempt is the first of a new series.
          pause = BACK_OFF_MS.first;
        } catch (error) {
          const end = await this.goneBy(row, error);
          if (end) return end;
        }
        reader = null;
        await delay(pause, undefined, { signal: this.closing.signal, ref: false }).catch(() => undefined);
      }
      return null;
    } finally {
      remove();
      reader?.close();
    }
  }

  /** Writes the end of a process, and tries again until it is written or this server process closes. */
  async report(row: ProcessRow, end: ProcessEnd, more: Parameters<ProcessRows['finish']>[2] = {}): Promise<void> {
    const retrier = {
      isClosed: () => this.isClosing,
      failed: (error: unknown) => this.note(row, error),
    };
    await retryUntilClosed(retrier, () => this.rows.finish(row, end, more));
  }

  /** A reader with the input of a process that runs. @throws EngineError as `EnginePrograms.attach` */
  async inputOf(row: ProcessRow): Promise<ContainerProcess> {
    const known = this.readers.get(row.id);
    if (known) return known;
    const reader = await this.attach(row);
    void this.read(row, reader)
      .then((end) => end && this.report(row, end))
      .catch((error: unknown) => this.note(row, error))
      .finally(() => reader.close());
    return reader;
  }

  /** Requests the end of a process: SIGTERM, then SIGKILL. @throws EngineError; the database's error */
  async end(row: ProcessRow, graceMs = GRACE_MS): Promise<'ended' | 'still_running'> {
    await this.rows.markEnding(row);
    const { engineId, id, runAs } = row;
    const program = { id, user: runAs ?? undefined, signal: 'TERM', graceMs } as const;
    try {
      return await this.engine.programs.end(engineId, program);
    } catch (error) {
      if (saysNotRunning(error)) return 'ended';
      throw error;
    }
  }

  /** @throws EngineError as `EnginePrograms.attach` */
  private async attach({ id, engineId }: ProcessRow): Promise<ContainerProcess> {
    const { programs } = this.engine;
    // What was written before is read by those who want it.
    const state = (await programs.list(engineId)).find((each) => each.id === id);
    return programs.attach(engineId, { id, after: state?.to, input: true, watch: true });
  }

  /** Reads, and drops, the output to its end. @returns null if the connection broke, or this process closes */
  private async read(row: ProcessRow, reader: ContainerProcess): Promise<ProcessEnd | null> {
    if (this.isClosing) return null;
    this.readers.set(row.id, reader);
    try {
      for await (const _ of reader.output);
      const end = await endOf(reader);
      if (end.kind === 'exited') return { reason: 'exited', exitCode: end.code };
      return end.kind === 'container_ended' ? { reason: 'container_stopped', exitCode: null } : null;
    } finally {
      if (this.readers.get(row.id) === reader) this.readers.delete(row.id);
    }
  }

  /** How a process ended that cannot be attached to; null if it may still run. */
  private async goneBy({ engineId }: ProcessRow, error: unknown): Promise<ProcessEnd | null> {
    const lost = { reason: 'lost', exitCode: null } as const;
    if (!(error instanceof EngineError)) throw error;
    if (saysNotRunning(error) || error.code === 'program_not_found' || error.code === 'restart_required') return lost;
    const node = nodeOf(engineId);
    const isGivenUp = node !== null && (await this.nodes.isGivenUp(node).catch(() => false));
    return isGivenUp ? lost : null;
  }

  private note({ containerId, id }: ProcessRow, error: unknown): void {
    this.logger.warn(
      { err: error, container_id: containerId, process: id },
      'a process could not be served; tried again',
    );
  }
}
