import { Injectable } from '@nestjs/common';
import { Database } from '../../database';
import { type ContainerRow, ContainerEntity, UP_STATUSES } from '../model/container.entity';

/** A container that has processes, with its id in Docker. */
export interface UpContainer {
  readonly id: string;
  readonly engineId: string;
  /** null on a single machine. */
  readonly nodeId: string | null;
}

export interface OwnedContainer extends UpContainer {
  readonly userId: string;
}

/** Reads which containers run, many at a time. */
@Injectable()
export class RunningContainers {
  constructor(private readonly database: Database) {}

  /** The running containers of all users, the most recently used first. */
  async mostRecentlyUsed(limit: number): Promise<UpContainer[]> {
    const rows = await this.live()
      .andWhere("c.status = 'running'")
      .orderBy('c.lastUsedAt', 'DESC')
      .limit(limit)
      .getMany();
    return rows.flatMap(upOf);
  }

  /**
   * Those of a user's containers that are running or paused.
   *
   * @param ids database ids, at most some hundred; unknown ones and those of other users are left out
   */
  async ofUser(userId: string, ids: readonly string[]): Promise<UpContainer[]> {
    if (ids.length === 0) return [];
    const rows = await this.live()
      .andWhere('c.id IN (:...ids) AND c.userId = :userId', { ids, userId })
      .andWhere('c.status IN (:...statuses)', { statuses: UP_STATUSES })
      .getMany();
    return rows.flatMap(upOf);
  }

  /**
   * The running containers of the users of some tiers. Paused ones are left out.
   *
   * @param tiers none: no query is made
   * @param userId only those of this user
   */
  async inTiers(tiers: readonly string[], userId?: string): Promise<OwnedContainer[]> {
    if (tiers.length === 0) return [];
    const query = this.live()
      .addSelect('c.userId')
      .andWhere("c.status = 'running'")
      .andWhere('EXISTS (SELECT 1 FROM users u WHERE u.id = c.user_id AND u.tier IN (:...tiers))', { tiers });
    if (userId !== undefined) query.andWhere('c.userId = :userId', { userId });
    const rows = await query.getMany();
    return rows.flatMap((row) => upOf(row).map((up) => ({ ...up, userId: row.userId })));
  }

  /** @returns those ids whose containers are not deleted. @param ids at most some hundred */
  async notDeleted(ids: readonly string[]): Promise<ReadonlySet<string>> {
    if (ids.length === 0) return new Set();
    const rows = await this.live().andWhere('c.id IN (:...ids)', { ids }).getMany();
    return new Set(rows.map(({ id }) => id));
  }

  private live() {
    return this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .select(['c.id', 'c.engineId', 'c.nodeId'])
      .where('c.deletedAt IS NULL');
  }
}

function upOf({ id, engineId, nodeId }: ContainerRow): UpContainer[] {
  return engineId === null ? [] : [{ id, engineId, nodeId }];
}
