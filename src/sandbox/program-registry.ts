import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { setImmediate as answered } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Column, Entity, In, Index, PrimaryColumn } from 'typeorm';
import { NodesAdmin, type RunningContainer } from '../containers';
import { ABSENT_FOR_MS, Database, isAbsentSql, ProcessPresence, RowWriter } from '../database';
import { TIMESTAMP } from '../database/column-types';
import { ContainerEngine, EngineError, type EngineErrorCode, mayGoOn } from '../docker';
import { DomainError, type ErrorCode } from '../errors';
import { type EventDraft, EventLog, retryUntilClosed } from '../events';
import { LOGGER } from '../logging';
import { Clock, Stopwatch, Poll } from '../scheduling';
import { LeftPrograms } from './left-programs';

/**
 * `command`: ends with its request; `process`: is kept; `start`: the start command, kept too; `terminal`: a shell with
 * a terminal; `transfer`: reads or writes a file or an archive for a request.
 */
export type ProgramKind = 'command' | 'process' | 'start' | 'terminal' | 'transfer';

/** A program in a container that one of Berth's processes holds: the only one that has its streams. */
@Entity('held_programs')
@Index('held_programs_container', ['containerId', 'kind'])
@Index('held_programs_holder', ['holder'])
export class HeldProgramEntity {
  /** Its marker in the container too. */
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  @Column({ type: 'varchar', length: 16 })
  kind: ProgramKind;

  @Column({ name: 'container_id', type: 'varchar', length: 36 })
  containerId: string;

  @Column({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  /** Of the very container that it was started in; a recreated one has another. */
  @Column({ name: 'docker_id', type: 'varchar', length: 128 })
  dockerId: string;

  /** As whom it runs; null: the image's own user. */
  @Column({ name: 'run_as', type: 'varchar', length: 255, nullable: true })
  runAs: string | null;

  /** The name of the program, without arguments, which may hold secrets. */
  @Column({ type: 'varchar', length: 255 })
  program: string;

  /** {@link ProcessPresence.holder} of the process that holds it. */
  @Column({ type: 'varchar', length: 36 })
  holder: string;

  @Column({ name: 'started_at', type: TIMESTAMP })
  startedAt: Date;
}

/** What is to be started. */
export interface NewProgram {
  readonly kind: ProgramKind;
  readonly command: readonly string[];
  readonly user?: string | undefined;
  /** How many of its kind a container may have, and what is thrown where it has them. */
  readonly limit: { readonly count: number; readonly error: ErrorCode };
}

/** What is emitted of a program that was lost; null: nothing. */
type LossEvent = (program: HeldProgramEntity) => Promise<EventDraft | null> | EventDraft | null;

const CHECK_EVERY_MS = 1_000;
const LEFT_AT_ONCE = 64;

/** Between SIGTERM and SIGKILL of what was left behind. */
const GRACE_MS = 2_000;

/** The container has ended, and the program with it; or nothing in it can end a program. */
const NOTHING_TO_END: readonly EngineErrorCode[] = [
  'container_not_found',
  'container_not_running',
  'command_not_started',
];

/**
 * The ledger of the programs that are held. Written before a program starts, so that what a process leaves behind when
 * it dies is ended in its containers: by the next start on SQLite, by any other process on PostgreSQL.
 */
@Injectable()
export class ProgramRegistry implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly poll: Poll;
  /** Since when processes show no presence. */
  private readonly missing = new Map<string, Stopwatch>();
  /** Programs of dead processes, and those whose streams are lost: they still have to be ended. */
  private readonly left: LeftPrograms;
  /** Programs that have ended and whose rows the database has not removed yet, by their ids: they take no place. */
  private readonly ended = new Map<string, HeldProgramEntity>();
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
      answers: (node: string | null) => engine.answers(node),
      isGivenUp: (node: string) => nodes.isGivenUp(node),
    };
    this.left = new LeftPrograms(machines, logger);
    this.poll = new Poll({
      everyMs: CHECK_EVERY_MS,
      work: () => Promise.all([this.takeOverLeft(), this.left.endDue()]),
      onFault: (error) => this.logger.warn({ err: error }, 'programs left behind could not be ended; tried again'),
    });
  }

  /** Docker is prepared by now. */
  onApplicationBootstrap(): void {
    this.poll.start();
  }

  onModuleDestroy(): void {
    this.isClosed = true;
    this.poll.stop();
  }

  /** What is emitted, with the end of its entry, for a program of this kind whose process died. */
  onLost(kind: ProgramKind, eventOf: LossEvent): void {
    this.lossEvents.set(kind, eventOf);
  }

  /**
   * Enters a program that this process is about to start.
   *
   * @returns the entry, whose id is to be its marker. @throws DomainError the limit's
   */
  async enter(container: RunningContainer, { kind, command, user, limit }: NewProgram): Promise<HeldProgramEntity> {
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
        // Not those in the container that this one replaced: they end with it.
        const alike = `container_id = ${parameter(containerId)} AND docker_id = ${parameter(dockerId)}`;
        const over = [...this.ended.values()].filter((each) => each.dockerId === dockerId && each.kind === kind);
        // The rare case, so that the usual statement has one text.
        const others = over.length === 0 ? '' : ` AND id NOT IN (${over.map(({ id }) => parameter(id)).join(', ')})`;
        const count = `SELECT COUNT(*) FROM held_programs WHERE ${alike} AND kind = ${parameter(kind)}${others}`;
        return `(${count}) < ${parameter(limit.count)}`;
      });
    const insertInTurn = async (): Promise<boolean> => {
      // Two at once must not both find the last place: on PostgreSQL a statement counts what there was when it began.
      await this.events.lock(entry.userId);
      return insert();
    };
    const isAlone = this.database.isSqlite || !Number.isFinite(limit.count);
    const isEntered = isAlone ? await insert() : await this.database.runInTx(insertInTurn);
    if (!isEntered) throw new DomainError(limit.error, { fields: { limit: limit.count } });
    return entry;
  }

  /**
   * Ends the entry of a program that has ended, or was never started. From now on it takes no place, whether the
   * database removes the row at once or not.
   *
   * @param event emitted in the same transaction. @throws what the database throws; to be tried again
   */
  async leave(program: HeldProgramEntity, event: EventDraft | null = null): Promise<void> {
    const { id, userId } = program;
    this.ended.set(id, program);
    const remove = (): Promise<number> => this.rows.delete((parameter) => `id = ${parameter(id)}`);
    if (event === null) await remove();
    else {
      await this.database.runInTx(async () => {
        // Another process has taken this one for dead, and told of it.
        if ((await remove()) === 0) return;
        await this.events.append({ userId, drafts: [event] });
      });
    }
    this.ended.delete(id);
  }

  /**
   * The same without an event, in the background of what is being answered: again and again until the database takes it
   * or this process closes; then the next process finds nothing to end. Never throws.
   */
  async leaveSurely(program: HeldProgramEntity): Promise<void> {
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
      return this.leave(program);
    });
  }

  /** Emits an event about a program that is held. */
  async emit({ userId }: Pick<HeldProgramEntity, 'userId'>, event: EventDraft): Promise<void> {
    await this.database.runInTx(async () => {
      await this.events.append({ userId, drafts: [event] });
    });
  }

  /** Gives up a program of this process whose streams are lost: it is ended in its container, and its loss emitted. */
  abandon(program: HeldProgramEntity): void {
    const giveUp = async (): Promise<void> =>
      this.leave(program, (await this.lossEvents.get(program.kind)?.(program)) ?? null);
    const end = async (): Promise<void> => {
      await endInContainer(this.engine, program, GRACE_MS);
      await giveUp();
    };
    this.left.add(program.id, { dockerId: program.dockerId, end, giveUp });
  }

  /** Ends a program that was given up, at once. @throws EngineError, and what the database throws */
  async endAbandoned({ id }: Pick<HeldProgramEntity, 'id'>): Promise<void> {
    await this.left.endNow(id);
  }

  /**
   * Ends what is not entered here, as it would end with its connection by itself, once Docker answers again: one that
   * is restarted, and leaves its containers running, closes nobody's input.
   */
  endLater({ dockerId, marker }: { readonly dockerId: string; readonly marker: string }): void {
    const end = async (): Promise<void> => {
      try {
        await this.engine.endProcesses(dockerId, { marker, signal: 'TERM', graceMs: GRACE_MS });
      } catch (error) {
        if (mayGoOn(error)) throw error;
      }
    };
    this.left.add(marker, { dockerId, end, giveUp: () => Promise.resolve() });
  }

  /** Whether it was given up and has not been ended yet. */
  isAbandoned({ id }: Pick<HeldProgramEntity, 'id'>): boolean {
    return this.left.has(id);
  }

  /** Whether this process holds it. */
  isOwn({ holder }: Pick<HeldProgramEntity, 'holder'>): boolean {
    return holder === this.presence.holder;
  }

  /** Of one container, of all processes, oldest first. */
  async listOf(containerId: string, ...kinds: readonly ProgramKind[]): Promise<HeldProgramEntity[]> {
    const entries = await this.database.manager.find(HeldProgramEntity, {
      where: { containerId, kind: In(kinds) },
      order: { startedAt: 'ASC', id: 'ASC' },
    });
    return entries.filter(({ id }) => !this.ended.has(id));
  }

  /** @returns null too for one that has ended and whose row is still there */
  async find(containerId: string, id: string): Promise<HeldProgramEntity | null> {
    const entry = await this.database.manager.findOneBy(HeldProgramEntity, { containerId, id });
    return this.ended.has(id) ? null : entry;
  }

  /** Takes over what processes that are no more have left in containers, to end it. */
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

  /** @returns false if another process has done so, or its own lives after all and has left */
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

/** The processes of a program, as the engine finds them. */
export function markedBy({ id, runAs }: HeldProgramEntity): { marker: string; user: string | undefined } {
  return { marker: id, user: runAs ?? undefined };
}

/**
 * Ends a program with all that it started: SIGTERM, then SIGKILL after `graceMs`.
 *
 * @returns `ended` too where its container does not run, or has no shell to end it with
 * @throws EngineError if it may go on
 */
export async function endInContainer(
  engine: ContainerEngine,
  program: HeldProgramEntity,
  graceMs: number,
): Promise<'ended' | 'still_running'> {
  try {
    return await engine.endProcesses(program.dockerId, { ...markedBy(program), signal: 'TERM', graceMs });
  } catch (error) {
    if (error instanceof EngineError && NOTHING_TO_END.includes(error.code)) return 'ended';
    throw error;
  }
}

function nameOf(command: readonly string[]): string {
  return (command[0] ?? '').slice(-255);
}
