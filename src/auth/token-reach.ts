import { Injectable } from '@nestjs/common';
import { Database, sql } from '../database';
import { DomainError } from '../errors';
import type { Principal } from './principal';

type Bound = Pick<Principal, 'boundTo'>;

/**
 * Which containers a token opens, beside the question whose they are. A fork is known by the container that it was
 * made from, in the row of the fork.
 */
@Injectable()
export class TokenReach {
  constructor(private readonly database: Database) {}

  /** @returns the ids of the only containers that the caller's token opens; null if it opens all of the user's */
  async idsOf({ boundTo }: Bound): Promise<ReadonlySet<string> | null> {
    if (boundTo === null) return null;
    const { id, withForks } = boundTo;
    return new Set([id, ...(withForks ? await this.forksOf(id) : [])]);
  }

  /** @throws DomainError `not_authorized` if the caller's token is for other containers */
  async assert(caller: Bound, containerId: string): Promise<void> {
    const { boundTo } = caller;
    if (boundTo === null || boundTo.id === containerId) return;
    const ids = await this.idsOf(caller);
    if (ids?.has(containerId) !== true) throw new DomainError('not_authorized');
  }

  /** The forks of a container and their forks, deleted ones too. */
  private async forksOf(id: string): Promise<string[]> {
    const { rows } = await this.database.run<{ id: string }>(sql`
      WITH RECURSIVE forks (id) AS (
        SELECT id FROM containers WHERE forked_from = ${id}
        UNION
        SELECT c.id FROM containers c INNER JOIN forks f ON c.forked_from = f.id
      )
      SELECT id FROM forks`);
    return rows.map((row) => row.id);
  }
}
