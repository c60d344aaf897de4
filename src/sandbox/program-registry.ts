import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { setImmediate as answered } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Column, Entity, In, Index, PrimaryColumn } from 'typeorm';
import { NodesAdmin, type RunningContainer } from '../containers';
import { ABSENT_FOR_MS, Database, isAbsentSql, ProcessPresence, RowWriter } from '../database';
import { TIMESTAMP } from '../database/column-types';
import {
  ContainerEngine,
  type ContainerProcess,
  EngineError,
  type EngineErrorCode,
  mayGoOn,
  type ProcessRequest,
} from '../docker';
import { DomainError, type ErrorCode } from '../errors';
import { type EventDraft, EventLog } from '../events';
import { LOGGER } from '../logging';
import { Clock, Stopwatch, Poll, retryUntilClosed } from '../scheduling';
import { LeftPrograms } from './left-programs';

/**
 * The kinds of programs:
 *
 * - `command` ends with its request.
 * - `process` outlives the request that starts it.
 * - `start` is the container's start command, and outlives requests as well.
 * - `terminal` is a shell with a terminal.
 */
export type ProgramKind = 'command' | 'process' | 'start' | 'terminal';

/** A program in a container, and the Berth process that holds it. Only that process has the program's streams. */
@Entity('held_programs')
@Index('held_programs_container', ['containerId', 'kind'])
@Index('held_programs_holder', ['holder'])
export class HeldProgramEntity {
  /** Also the program's marker in the container. */
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  @Column({ type: 'varchar', length: 16 })
  kind: ProgramKind;

  @Column({ name: 'container_id', type: 'varchar', length: 36 })
  containerId: string;

  @Column({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  /** Docker's id of the container that the program was started in. A recreated container has another Docker id. */
  @Column({ name: 'docker_id', type: 'varchar', length: 128 })
  dockerId: string;

  /** The user that the program runs as; null for the image's own user. */
  @Column({ name: 'run_as', type: 'varchar', length: 255, nullable: true })
  runAs: string | null;

  /** The program without its arguments, which may contain secrets. */
  @Column({ type: 'varchar', length: 255 })
  program: string;

  /** {@link ProcessPresence.holder} of the Berth process that holds the program. */
  @Column({ type: 'varchar', length: 36 })
  holder: string;

  @Column({ name: 'started_at', type: TIMESTAMP })
  startedAt: Date;
}

/** A program to start. */
interface NewProgram {
  readonly kind: ProgramKind;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly user?: string | undefined;
  readonly terminal?: ProcessRequest['terminal'];
  /** The maximum number of such programs in a container, and the error thrown when that is reached. */
  readonly limit: { readonly count: number; readonly error: ErrorCode };
}

/** Makes the event for a lost program; null emits none. */
type LossEvent = (program: HeldProgramEntity) => Promise<EventDraft | null> | EventDraft | null;

const CHECK_EVERY_MS = 1_000;
const LEFT_AT_ONCE = 64;

/** Between SIGTERM and SIGKILL of a program that was left behind. */
const GRACE_MS = 2_000;

/**
 * Errors after which there is nothing to kill: the container and its programs have ended, or the container has no
 * shell that could kill a program.
 */
const NOTHING_TO_END: readonly EngineErrorCode[] = [
  'container_not_found',
  'container_not_running',
  'command_not_started',
];

/**
 * The registry of all held programs, in the database. A row is written before its program starts, so that the programs
 * of a dead Berth process can be found and killed: on SQLite at the next start, on PostgreSQL by any other process.
 */
@Injectable()
export class ProgramRegistry implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly poll: Poll;
  /** When each process was first seen without presence. */
  private readonly missing = new Map<string, Stopwatch>();
  /** Programs that still have to be killed: those of dead processes, and those that this process has given up. */
  private readonly left: LeftPrograms;
  /** Ended programs whose rows are not deleted yet, by id. They do not count towards limits. */
  private readonly ended = new Map<string, HeldProgramEntity>();
  /** The rows that are being deleted in the background. */
  private readonly leaving = new Set<Promise<void>>();
  private isClosed = false;
  private readonly lossEvents = new Map<ProgramKind, LossEvent>();
  private readonly rows: RowWriter<HeldProgramEntity>;

  constructor(
    private readonly database: Database,
    private readonly presence: ProcessPresence,
    private readonly engine: ContainerEngine,
    private readonly events: EventLog,
    private readonly clock: Clock,
    nodes: NodesAdmin,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.rows = new RowWriter(database, HeldProgramEntity);
    const machines = {
      answers: (node: string | null) => engine.nodes.answers(node),
      isGivenUp: (node: string) => nodes.isGivenUp(node),
    };
    this.left = new LeftPrograms(machines, logger);
    this.poll = new Poll({
      everyMs: CHECK_EVERY_MS,
      work: () => Promise.all([this.takeOverLeft(), this.left.endDue()]),
      onFault: (error) => this.logger.warn({ err: error }, 'programs left behind could not be ended; tried again'),
    });
  }

  /** Docker has been prepared by the time of this hook. */
  onApplicationBootstrap(): void {
    this.poll.start();
  }

  onModuleDestroy(): void {
    this.isClosed = true;
    this.poll.stop();
  }

  /**
   * Registers the event for lost programs of this kind: their process died, or their streams were lost. The event is
   * emitted in the transaction that deletes the program's row.
   */
  onLost(kind: ProgramKind, eventOf: LossEvent): void {
    this.lossEvents.set(kind, eventOf);
  }

  /**
   * Writes a program's row and starts the program, with the container's variables. {@link release} has to follow at
   * its end.
   *
   * @throws DomainError the limit's error; EngineError as `EnginePrograms.start`, after which the program is released
   */
  async start(
    container: RunningContainer,
    { kind, limit, ...request }: NewProgram & Omit<ProcessRequest, 'id'>,
  ): Promise<{ readonly entry: HeldProgramEntity; readonly program: ContainerProcess }> {
    const env = container.environment(request.env);
    const entry = await this.enter(container, { ...request, env, kind, limit });
    try {
      const program = await this.engine.programs.start(container.dockerId, { ...request, env, id: entry.id });
      return { entry, program };
    } catch (error) {
      this.release(entry, { error });
      throw error;
    }
  }

  /**
   * Gives up a program after its end or a failure: abandons it if it may still be running after `error`; otherwise
   * deletes its row in the background. Does nothing for a program that was abandoned already.
   *
   * @param outcome.event emitted in the transaction that deletes the row
   */
  release(program: HeldProgramEntity, { error, event }: { error?: unknown; event?: EventDraft } = {}): void {
    if (this.isAbandoned(program)) return;
    if (mayGoOn(error)) {
      this.abandon(program);
      return;
    }
    const leaving = this.leaveSurely(program, event).finally(() => this.leaving.delete(leaving));
    this.leaving.add(leaving);
  }

  /** Waits until the rows of all released programs are deleted, or cannot be because this process closes. */
  async released(): Promise<void> {
    await Promise.all(this.leaving);
  }

  /**
   * Writes the row of a program that this process is about to start. Where the limit is reached, programs of this
   * process that may have ended since Docker was last asked free their places first.
   *
   * @returns the row, whose id is the program's marker
   * @throws DomainError the limit's error
   */
  async enter(container: Omit<RunningContainer, 'diskMb'>, program: NewProgram): Promise<HeldProgramEntity> {
    const { kind, command, user, limit } = program;
    const entry: HeldProgramEntity = {
      id: randomUUID(),
      kind,
      containerId: container.id,
      userId: container.userId,
      dockerId: container.dockerId,
      runAs: user ?? null,
      program: nameOf(command),
      holder: this.presence.holder,
      startedAt: this.clock.now(),
    };
    const { containerId, dockerId } = entry;
    const insert = (): Promise<boolean> =>
      this.rows.insert(entry, (parameter) => {
        if (!Number.isFinite(limit.count)) return '1 = 1';
        // Programs in the Docker container that this one replaced do not count: they end with it.
        const alike = `container_id = ${parameter(containerId)} AND docker_id = ${parameter(dockerId)}`;
        const over = [...this.ended.values()].filter((each) => each.dockerId === dockerId && each.kind === kind);
        // Added only in this rare case, so that the usual statement always has the same text.
        const others = over.length === 0 ? '' : ` AND id NOT IN (${over.map(({ id }) => parameter(id)).join(', ')})`;
        const count = `SELECT COUNT(*) FROM held_programs WHERE ${alike} AND kind = ${parameter(kind)}${others}`;
        return `(${count}) < ${parameter(limit.count)}`;
      });
    const insertInTurn = async (): Promise<boolean> => {
      // Serialized, so that two inserts cannot both take the last place: on PostgreSQL, a statement does not count
      // rows that were committed after it began.
      await this.events.lock(entry.userId);
      return insert();
    };
    const isAlone = this.database.isSqlite || !Number.isFinite(limit.count);
    const tryToEnter = (): Promise<boolean> => (isAlone ? insert() : this.database.runInTx(insertInTurn));
    const isEntered = (await tryToEnter()) || ((await this.left.endOf(dockerId)) && (await tryToEnter()));
    if (!isEntered) throw new DomainError(limit.error, { fields: { limit: limit.count } });
    return entry;
  }

  /**
   * Deletes the row of a program that has ended or was never started. From this call on the program does not count
   * towards limits, even if the delete fails.
   *
   * @param event emitted in the same transaction
   * @throws the database's error; the caller should retry
   */
  async leave(program: HeldProgramEntity, event: EventDraft | null = null): Promise<void> {
    const { id, userId } = program;
    this.ended.set(id, program);
    const remove = (): Promise<number> => this.rows.delete((parameter) => `id = ${parameter(id)}`);
    if (event === null) await remove();
    else {
      await this.database.runInTx(async () => {
        // The row is gone: another process considered this one dead, took the program over, and emitted its loss.
        if ((await remove()) === 0) return;
        await this.events.append({ userId, drafts: [event] });
      });
    }
    this.ended.delete(id);
  }

  /**
   * Like {@link leave}, but in the background. Starts in the next turn of the event loop, so that it does not delay a
   * response. Retries until the database deletes the row or this process closes, and tries at least once. If the row
   * remains, the next process takes it over and finds nothing to kill. Never throws.
   */
  private async leaveSurely(program: HeldProgramEntity, event?: EventDraft): Promise<void> {
    const { id, kind, containerId } = program;
    this.ended.set(id, program);
    await answered();
    let attempts = 0;
    const retrier = {
      isClosed: () => attempts > 0 && this.isClosed,
      failed: (error: unknown) =>
        this.logger.warn(
          { err: error, container_id: containerId, kind, id },
          'the end of a program is not written yet',
        ),
    };
    await retryUntilClosed(retrier, () => {
      attempts += 1;
      return this.leave(program, event);
    });
  }

  /** Emits an event about a held program. */
  async emit({ userId }: Pick<HeldProgramEntity, 'userId'>, event: EventDraft): Promise<void> {
    await this.database.runInTx(async () => {
      await this.events.append({ userId, drafts: [event] });
    });
  }

  /**
   * Gives up a program of this process whose streams are lost. The program is killed in its container, and its loss is
   * emitted.
   */
  abandon(program: HeldProgramEntity): void {
    const giveUp = async (): Promise<void> =>
      this.leave(program, (await this.lossEvents.get(program.kind)?.(program)) ?? null);
    const end = async (): Promise<void> => {
      await endInContainer(this.engine, program, GRACE_MS);
      await giveUp();
    };
    this.left.add(program.id, { dockerId: program.dockerId, end, giveUp });
  }

  /**
   * Kills an abandoned program immediately.
   *
   * @throws EngineError, and the database's error
   */
  async endAbandoned({ id }: Pick<HeldProgramEntity, 'id'>): Promise<void> {
    await this.left.endNow(id);
  }

  /**
   * Kills a program without a row as soon as Docker answers. Such a program normally ends when its connection closes
   * its stdin. A Docker daemon that restarts and keeps its containers running closes no stdin.
   */
  endLater({ dockerId, marker }: { readonly dockerId: string; readonly marker: string }): void {
    const end = async (): Promise<void> => {
      try {
        await this.engine.programs.end(dockerId, { id: marker, signal: 'TERM', graceMs: GRACE_MS });
      } catch (error) {
        if (mayGoOn(error)) throw error;
      }
    };
    this.left.add(marker, { dockerId, end, giveUp: () => Promise.resolve() });
  }

  /** Whether the program was abandoned and has not been killed yet. */
  isAbandoned({ id }: Pick<HeldProgramEntity, 'id'>): boolean {
    return this.left.has(id);
  }

  /** Whether this process holds the program. */
  isOwn({ holder }: Pick<HeldProgramEntity, 'holder'>): boolean {
    return holder === this.presence.holder;
  }

  /** Whether the process that holds the program is dead, as far as the database shows: no process has its streams. */
  async isOrphaned({ id, holder }: Pick<HeldProgramEntity, 'id' | 'holder'>): Promise<boolean> {
    if (this.isOwn({ holder })) return false;
    // Only one process uses SQLite.
    if (this.database.isSqlite) return true;
    const query = this.database.manager.createQueryBuilder(HeldProgramEntity, 'program');
    return query.where('program.id = :id', { id }).andWhere(isAbsentSql('program.holder')).getExists();
  }

  /** The programs of one container that any process holds, oldest first. */
  async listOf(containerId: string, ...kinds: readonly ProgramKind[]): Promise<HeldProgramEntity[]> {
    const entries = await this.database.manager.find(HeldProgramEntity, {
      where: { containerId, kind: In(kinds) },
      order: { startedAt: 'ASC', id: 'ASC' },
    });
    return entries.filter(({ id }) => !this.ended.has(id));
  }

  /** @returns null also if the program has ended and only its row is left */
  async find(containerId: string, id: string): Promise<HeldProgramEntity | null> {
    const entry = await this.database.manager.findOneBy(HeldProgramEntity, { containerId, id });
    return this.ended.has(id) ? null : entry;
  }

  /** Takes over the programs that dead processes left in containers, to kill them. */
  private async takeOverLeft(): Promise<void> {
    const left = await this.listLeft();
    for (const holder of this.missing.keys()) {
      if (!left.some((program) => program.holder === holder)) this.missing.delete(holder);
    }
    for (const program of left) {
      const since = this.missing.get(program.holder) ?? new Stopwatch();
      this.missing.set(program.holder, since);
      const isDead = this.database.isSqlite || since.age >= ABSENT_FOR_MS;
      if (isDead && (await this.takeOver(program))) this.abandon(program);
    }
  }

  /**
   * @returns false if another process took the program over, or if its own process is alive after all and has deleted
   *   the row
   */
  private async takeOver({ id, holder }: HeldProgramEntity): Promise<boolean> {
    const mine = { holder: this.presence.holder };
    return (await this.database.manager.update(HeldProgramEntity, { id, holder }, mine)).affected === 1;
  }

  private listLeft(): Promise<HeldProgramEntity[]> {
    const query = this.database.manager
      .createQueryBuilder(HeldProgramEntity, 'program')
      .where('program.holder <> :own', { own: this.presence.holder })
      .orderBy('program.startedAt')
      .limit(LEFT_AT_ONCE);
    if (!this.database.isSqlite) query.andWhere(isAbsentSql('program.holder'));
    return query.getMany();
  }
}

/** How the engine finds the processes of a program. */
export function markedBy({ id, runAs }: HeldProgramEntity): { id: string; user: string | undefined } {
  return { id, user: runAs ?? undefined };
}

/**
 * Kills a program and all that it started: SIGTERM, then SIGKILL after `graceMs`.
 *
 * @returns `ended` also if its container does not run, or has no shell that could kill the program
 * @throws EngineError if the program may still be running
 */
export async function endInContainer(
  engine: ContainerEngine,
  program: HeldProgramEntity,
  graceMs: number,
): Promise<'ended' | 'still_running'> {
  try {
    return await engine.programs.end(program.dockerId, { ...markedBy(program), signal: 'TERM', graceMs });
  } catch (error) {
    if (error instanceof EngineError && NOTHING_TO_END.includes(error.code)) return 'ended';
    throw error;
  }
}

function nameOf(command: readonly string[]): string {
  return (command[0] ?? '').slice(-255);
}
