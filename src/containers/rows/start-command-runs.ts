import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { SelectQueryBuilder } from 'typeorm';
import { Database, type Sql, sql } from '../../database';
import type { ContainerFacts } from '../../events';
import { Clock } from '../../scheduling';
import { TiersService } from '../../tiers';
import { Environments, type Variables } from './environments';
import { ContainerEntity, containerFacts, type ContainerRow, isUp } from '../model/container.entity';
import type { StartCommand } from '../model/start-command';

/** One course of a start command: from a start of the container, or a change of the command, to the next. */
export interface StartCommandRun {
  readonly container: {
    readonly id: string;
    readonly name: string;
    readonly userId: string;
    readonly engineId: string;
    /** @see Environments.ofProgram */
    readonly environment: (own?: Variables) => Variables;
  };
  readonly start: StartCommand;
  /** The id of the course. */
  readonly run: string;
  /** Consecutive failures of the command. */
  readonly failures: number;
  /** Whether the run was found to be ready, or not to become ready in time. */
  readonly isReadinessKnown: boolean;
}

/** The columns about the course of a container's start command. */
export type StartColumns = Pick<ContainerRow, 'startRun' | 'startDueAt' | 'startFailures' | 'startReady'>;

/** The columns of a change that affect the start command. */
type Change = Partial<Pick<ContainerRow, 'status' | 'engineId' | 'deletedAt' | 'start' | 'runStartedAt'>>;

const NO_START: StartColumns = { startRun: null, startDueAt: null, startFailures: 0, startReady: null };

/**
 * The start-command columns after a change of a container: each start of the container, by Berth or by Docker, and
 * each new command begin another course. A pause interrupts none. Applied to every write, so that no operation can
 * forget it.
 */
export function startAfter(row: ContainerRow, change: Change, now: Date): Partial<StartColumns> {
  const after = { ...row, ...change };
  if (after.start === null || !isUp(after.status) || after.deletedAt !== null) {
    return row.startRun === null ? {} : NO_START;
  }
  const isNext = row.runStartedAt !== null && after.runStartedAt !== null && row.runStartedAt !== after.runStartedAt;
  const isNew = row.startRun === null || row.engineId !== after.engineId || !isDeepStrictEqual(row.start, after.start);
  const starts = !isUp(row.status) || isNext || isNew;
  return starts ? { startRun: randomUUID(), startDueAt: now, startFailures: 0, startReady: null } : {};
}

/** A start command may need its role's programs. A role that failed is not waited for. */
const ROLE_IS_THERE = "(c.role_status IS NULL OR c.role_status IN ('installed', 'failed'))";

/**
 * The sole writer of the start-command columns, besides {@link startAfter} in each write of a container. Every write
 * is conditional on the course, and none changes the row's revision, which belongs to the operations.
 */
@Injectable()
export class StartCommandRuns {
  constructor(
    private readonly database: Database,
    private readonly tiers: TiersService,
    private readonly environments: Environments,
    private readonly clock: Clock,
  ) {}

  /**
   * The start commands that are due, the longest due first. Only in running containers without an operation, whose
   * owner's tier allows exec.
   */
  async listDue(limit: number): Promise<StartCommandRun[]> {
    const rows = await this.live()
      .andWhere('c.start_due_at IS NOT NULL AND c.start_due_at <= :now', {
        now: this.database.timestamp(this.clock.now()),
      })
      .andWhere(`c.status = 'running' AND c.operation IS NULL AND ${ROLE_IS_THERE}`)
      .andWhere('EXISTS (SELECT 1 FROM users u WHERE u.id = c.user_id AND u.tier IN (:...tiers))', {
        // The empty string is no tier's name. It keeps the list from being empty.
        tiers: ['', ...this.tiers.all().flatMap(({ name, exec }) => (exec ? [name] : []))],
      })
      .orderBy('c.start_due_at')
      .limit(limit)
      .getMany();
    return rows.flatMap((row) => this.courseOf(row) ?? []);
  }

  /** The current courses of those of these containers that have one. */
  async runsOf(containerIds: readonly string[]): Promise<ReadonlySet<string>> {
    if (containerIds.length === 0) return new Set();
    const rows = await this.live()
      .select('c.start_run', 'run')
      .andWhere('c.id IN (:...ids) AND c.start_run IS NOT NULL', { ids: containerIds })
      .getRawMany<{ run: string }>();
    return new Set(rows.map(({ run }) => run));
  }

  /** Records that the command is being started. @returns false if it is not due any more */
  take(run: StartCommandRun): Promise<boolean> {
    return this.update(run, { startDueAt: null, startReady: null }, sql`start_due_at IS NOT NULL`);
  }

  /**
   * Records that the command ended.
   *
   * @param next.dueInMs milliseconds until the command is started again; null: not in this course
   */
  async settle(
    run: StartCommandRun,
    next: { readonly dueInMs: number | null; readonly failures: number },
  ): Promise<void> {
    const startDueAt = next.dueInMs === null ? null : new Date(this.clock.now().getTime() + next.dueInMs);
    await this.update(run, { startDueAt, startFailures: next.failures, startReady: null }, sql`TRUE`);
  }

  /** The course of a run whose process has died; null if the course is over. */
  async courseOfRun(run: {
    containerId: string;
    engineId: string;
    course: string | null;
  }): Promise<StartCommandRun | null> {
    const { containerId, engineId, course } = run;
    const row = await this.live()
      .andWhere('c.id = :containerId AND c.docker_id = :engineId AND c.start_run = :course', {
        containerId,
        engineId,
        course,
      })
      .getOne();
    return row && this.courseOf(row);
  }

  /** @returns false if the course is over */
  noteReady(run: StartCommandRun, startReady: boolean): Promise<boolean> {
    return this.update(run, { startReady, updatedAt: this.clock.now() }, sql`start_due_at IS NULL`);
  }

  /** The container as events show it; null if it is deleted. */
  async factsOf(containerId: string): Promise<Readonly<ContainerFacts> | null> {
    const row = await this.live().andWhere('c.id = :containerId', { containerId }).getOne();
    return row && containerFacts(row);
  }

  private courseOf(row: ContainerRow): StartCommandRun | null {
    const { id, name, userId, engineId, start, startRun, startFailures, startReady } = row;
    if (engineId === null || start === null || startRun === null) return null;
    const environment = (own?: Variables): Variables => this.environments.ofProgram(row, own);
    return {
      container: { id, name, userId, engineId, environment },
      start,
      run: startRun,
      failures: startFailures,
      isReadinessKnown: startReady !== null,
    };
  }

  private live(): SelectQueryBuilder<ContainerEntity> {
    return this.database.manager.createQueryBuilder(ContainerEntity, 'c').where('c.deletedAt IS NULL');
  }

  /** @returns false if the course is over, or the condition does not hold */
  private async update(
    { run, container: { id } }: StartCommandRun,
    set: Partial<ContainerRow>,
    condition: Sql,
  ): Promise<boolean> {
    const { affected } = await this.database.run(sql`
      UPDATE containers SET ${sql.set(ContainerEntity, set)}
      WHERE id = ${id} AND deleted_at IS NULL AND start_run = ${run} AND ${condition}`);
    return affected === 1;
  }
}
