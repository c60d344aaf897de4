import { Injectable } from '@nestjs/common';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../../database/column-types';
import { ABSENT_FOR_MS, Database, isAbsentSql, ProcessPresence, Retention, sql } from '../../database';
import { DomainError, type ErrorCode } from '../../errors';
import { type EventDraft, EventLog, type ProcessFacts } from '../../events';
import { Clock, Stopwatch } from '../../scheduling';
import type { KeptProgram } from '../programs/kept-programs';

/**
 * Why a process has ended:
 *
 * - `exited`: by itself or by a signal.
 * - `ended`: by request, for lack of exec access, or because another start command replaced it.
 * - `container_stopped`: with its container.
 * - `lost`: with its container, while no server saw it.
 * - `command_not_started`: a start command whose program does not exist or is not executable.
 */
export const PROCESS_ENDS = ['exited', 'ended', 'container_stopped', 'lost', 'command_not_started'] as const;

/** How a process ended. `exited` becomes `ended` where the end was requested. */
export interface ProcessEnd {
  readonly reason: (typeof PROCESS_ENDS)[number];
  /** null if the exit code is not known. */
  readonly exitCode: number | null;
}

/** How long, and how many, ended processes of a container are listed. */
const ENDED_FOR_MS = 5 * 60_000;
const MOST_ENDED = 16;

const TAKEN_AT_ONCE = 64;

/**
 * A process whose start and end are reported as events. Its container's supervisor keeps it; the row only makes sure
 * that its end is reported once, by whichever server process sees it first.
 */
@Entity('processes')
@Index('processes_container', ['containerId'])
@Index('processes_holder', ['holder'])
@Index('processes_ended_at', ['endedAt'])
export class ProcessEntity {
  /** Also the program's id in its sandbox. */
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  @Column({ type: 'varchar', length: 16 })
  kind: 'process' | 'start';

  @Column({ name: 'container_id', type: 'varchar', length: 36 })
  containerId: string;

  @Column({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  /** Docker's id of the container that it was started in. A recreated container has another Docker id. */
  @Column({ name: 'docker_id', type: 'varchar', length: 128 })
  engineId: string;

  /** The user that it runs as; null for the image's own user. */
  @Column({ name: 'run_as', type: 'varchar', length: 255, nullable: true })
  runAs: string | null;

  /** The program without its arguments, which may contain secrets. */
  @Column({ type: 'varchar', length: 255 })
  program: string;

  /** {@link ProcessPresence.holder} of the server process that waits for the end. */
  @Column({ type: 'varchar', length: 36 })
  holder: string;

  @Column({ name: 'started_at', type: TIMESTAMP })
  startedAt: Date;

  /** Of a start command: its course. */
  @Column({ type: 'varchar', length: 36, nullable: true })
  course: string | null;

  /** Whether `process_started` was emitted. */
  @Column({ name: 'is_announced', type: 'boolean' })
  isAnnounced: boolean;

  /** Whether its end was requested. */
  @Column({ name: 'is_ending', type: 'boolean' })
  isEnding: boolean;

  @Column({ name: 'exit_code', type: 'integer', nullable: true })
  exitCode: number | null;

  @Column({ type: 'varchar', length: 24, nullable: true })
  reason: ProcessEnd['reason'] | null;

  /** null while it runs, as far as any server process has seen. */
  @Column({ name: 'ended_at', type: TIMESTAMP, nullable: true })
  endedAt: Date | null;
}

/** A process, as its row has it. */
export type ProcessRow = { -readonly [Column in keyof ProcessEntity]: ProcessEntity[Column] };

/** The maximum number of processes of a kind that run in a container, and the error thrown when that is reached. */
interface Limit {
  readonly count: number;
  readonly error: ErrorCode;
}

/** Reads and writes the rows of processes, together with their events. */
@Injectable()
export class ProcessRows {
  /** When each holder was first seen without presence. */
  private readonly missing = new Map<string, Stopwatch>();

  constructor(
    private readonly database: Database,
    private readonly events: EventLog,
    private readonly presence: ProcessPresence,
    private readonly clock: Clock,
  ) {}

  /** @throws DomainError the limit's error */
  async assertRoom(place: Pick<ProcessRow, 'kind' | 'containerId' | 'engineId'>, limit: Limit): Promise<void> {
    const { kind, containerId, engineId } = place;
    const running = await this.running().andWhere({ kind, containerId, engineId }).getCount();
    if (running >= limit.count) throw new DomainError(limit.error, { fields: { limit: limit.count } });
  }

  /**
   * Inserts the row of a process that has started, with its event.
   *
   * @throws DomainError the limit's error; the database's error
   */
  async begin(kept: KeptProgram & { readonly kind: 'process' }, limit: Limit): Promise<ProcessRow> {
    const row = { ...this.rowOf(kept), isAnnounced: true };
    await this.database.runInTxLocking(row.userId, async () => {
      // Serialized, so that two inserts cannot both take the last place: on PostgreSQL, a statement does not count
      // rows that were committed after it began.
      await this.events.lock(row.userId);
      await this.insert(row, limit);
      await this.emit(row, { type: 'process_started', data: processFacts(row) });
    });
    return row;
  }

  /**
   * Inserts the row of a start command that is about to be started. Part of the caller's transaction, which has locked
   * the user.
   *
   * @throws DomainError the limit's error
   */
  async reserve(
    start: Omit<KeptProgram, 'kind' | 'startedAt'> & { course: string },
    limit: Limit,
  ): Promise<ProcessRow> {
    const row = { ...this.rowOf({ ...start, kind: 'start', startedAt: this.clock.now() }), course: start.course };
    await this.insert(row, limit);
    return row;
  }

  /** Emits `process_started`, unless that was done. @throws the database's error */
  async announce(row: ProcessRow): Promise<void> {
    if (row.isAnnounced) return;
    await this.database.runInTxLocking(row.userId, async () => {
      const { affected } = await this.database.run(sql`
        UPDATE processes SET is_announced = TRUE
        WHERE id = ${row.id} AND ended_at IS NULL AND is_announced = FALSE`);
      if (affected === 1) await this.emit(row, { type: 'process_started', data: processFacts(row) });
    });
    row.isAnnounced = true;
  }

  /** Has the end of a process count as requested. @throws the database's error */
  async markEnding(row: ProcessRow): Promise<void> {
    row.isEnding = true;
    await this.database.run(sql`UPDATE processes SET is_ending = TRUE WHERE id = ${row.id} AND ended_at IS NULL`);
  }

  /**
   * Writes the end of a process with its event, unless another server process, or an earlier call, has.
   *
   * @param also is run in the same transaction
   * @returns the row as it is then; null if it was deleted meanwhile
   * @throws the database's error; the caller should retry
   */
  async finish(
    { id, userId }: Pick<ProcessRow, 'id' | 'userId'>,
    { reason, exitCode }: ProcessEnd,
    { isTold = true, also }: { isTold?: boolean; also?: (end: ProcessEnd) => Promise<void> } = {},
  ): Promise<ProcessRow | null> {
    return this.database.runInTxLocking(userId, async () => {
      await this.events.lock(userId);
      const row = await this.database.manager.findOneBy(ProcessEntity, { id });
      if (row?.endedAt !== null) return row;
      const end = { reason: reason === 'exited' && row.isEnding ? ('ended' as const) : reason, exitCode };
      const ended = { ...end, endedAt: this.clock.now() };
      await this.database.manager.update(ProcessEntity, { id }, ended);
      await also?.(end);
      if (isTold) await this.emit(row, endEvent(row, end));
      return Object.assign(row, ended);
    });
  }

  /** Those that run, and the last ones that ended, oldest first. */
  async listOf(containerId: string): Promise<ProcessRow[]> {
    const rows = await this.database.manager.find(ProcessEntity, {
      where: { containerId },
      order: { startedAt: 'ASC', id: 'ASC' },
    });
    const ended = rows.filter(({ endedAt }) => endedAt !== null);
    ended.sort((one, other) => (one.endedAt?.getTime() ?? 0) - (other.endedAt?.getTime() ?? 0));
    const tooOld = new Set(ended.slice(0, Math.max(0, ended.length - MOST_ENDED)));
    return rows.filter((row) => !tooOld.has(row) && !this.isOver(row));
  }

  async find(containerId: string, id: string): Promise<ProcessRow | null> {
    const row = await this.database.manager.findOneBy(ProcessEntity, { containerId, id });
    return row && !this.isOver(row) ? row : null;
  }

  async delete({ id }: Pick<ProcessRow, 'id'>): Promise<void> {
    await this.database.run(sql`DELETE FROM processes WHERE id = ${id}`);
  }

  /** Takes over the running processes that a dead server process waited for: on SQLite, any other one. */
  async takeOver(): Promise<ProcessRow[]> {
    const { holder } = this.presence;
    const query = this.running()
      .andWhere('process.holder <> :holder', { holder })
      .orderBy('process.startedAt')
      .limit(TAKEN_AT_ONCE);
    if (!this.database.isSqlite) query.andWhere(isAbsentSql('process.holder'));
    const left: ProcessRow[] = await query.getMany();
    for (const known of this.missing.keys()) {
      if (!left.some((row) => row.holder === known)) this.missing.delete(known);
    }
    const taken: ProcessRow[] = [];
    for (const row of left) {
      const since = this.missing.get(row.holder) ?? new Stopwatch();
      this.missing.set(row.holder, since);
      if (!this.database.isSqlite && since.age < ABSENT_FOR_MS) continue;
      const { affected } = await this.database.run(sql`
        UPDATE processes SET holder = ${holder} WHERE id = ${row.id} AND holder = ${row.holder}`);
      if (affected === 1) taken.push({ ...row, holder });
    }
    return taken;
  }

  private async insert(row: ProcessRow, limit: Limit): Promise<void> {
    const { kind, containerId, engineId } = row;
    // Processes in the Docker container that this one replaced do not count: they end with it.
    const isAlike = sql`container_id = ${containerId} AND docker_id = ${engineId} AND kind = ${kind}`;
    const { affected } = await this.database.run(sql`
      INSERT INTO processes (${sql.columns(ProcessEntity)}) SELECT ${sql.values(ProcessEntity, row)}
      WHERE (SELECT COUNT(*) FROM processes WHERE ${isAlike} AND ended_at IS NULL) < ${limit.count}`);
    if (affected === 0) throw new DomainError(limit.error, { fields: { limit: limit.count } });
  }

  private rowOf(kept: KeptProgram & { readonly kind: ProcessRow['kind'] }): ProcessRow {
    const { id, kind, containerId, userId, engineId, runAs, command, startedAt } = kept;
    return {
      id,
      kind,
      containerId,
      userId,
      engineId,
      runAs,
      program: (command[0] ?? '').slice(-255),
      holder: this.presence.holder,
      startedAt,
      course: null,
      isAnnounced: false,
      isEnding: false,
      exitCode: null,
      reason: null,
      endedAt: null,
    };
  }

  private isOver({ endedAt }: ProcessRow): boolean {
    return endedAt !== null && endedAt.getTime() + ENDED_FOR_MS <= this.clock.now().getTime();
  }

  private async emit({ userId }: Pick<ProcessRow, 'userId'>, event: EventDraft): Promise<void> {
    await this.events.append({ userId, drafts: [event] });
  }

  private running() {
    return this.database.manager.createQueryBuilder(ProcessEntity, 'process').where('process.endedAt IS NULL');
  }
}

/** Deletes the rows of processes that ended a while ago. */
@Injectable()
export class ProcessRetention extends Retention {
  constructor(database: Database, clock: Clock) {
    super(database, clock, { name: 'processes', entity: ProcessEntity, since: 'ended_at', keptMs: ENDED_FOR_MS });
  }
}

/** A process, as events show it. */
function processFacts({ id, containerId, program, kind }: ProcessRow): ProcessFacts {
  const facts = { id, container_id: containerId, program };
  return kind === 'start' ? { ...facts, start: true } : facts;
}

function endEvent(row: ProcessRow, { reason, exitCode }: ProcessEnd): EventDraft {
  const data = processFacts(row);
  if (reason === 'lost') return { type: 'process_lost', data };
  return { type: 'process_exited', data: { ...data, exit_code: exitCode, reason } };
}
