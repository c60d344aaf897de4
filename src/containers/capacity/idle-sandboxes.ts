import { Injectable } from '@nestjs/common';
import { Count } from '../../api-fields';
import { Database } from '../../database';
import { EngineIdentity } from '../../engine';
import { Clock } from '../../scheduling';
import { ContainerEntity } from '../model/container.entity';

/** A use is recorded at least once a minute. */
const IDLE_AFTER_MS = 10 * 60_000;

/** SQL for an idle container `c`, with the parameter {@link unusedSince}. Served by the index `containers_running`. */
export const IS_IDLE = "c.status = 'running' AND c.last_used_at <= :unusedSince";

export const unusedSince = (now: Date): Date => new Date(now.getTime() - IDLE_AFTER_MS);

export class IdleView {
  @Count('Running containers that have not been used for 10 minutes.', { example: 12 })
  readonly containers: number;
  @Count(
    'Millicores used by a sandbox without programs, measured once at start (in a cluster, on one node). Null if ' +
      'not measured.',
    { nullable: true, example: 28 },
  )
  readonly cpu_shares: number | null;
}

/** Counts idle containers, which under some releases of gVisor use CPU all the same. */
@Injectable()
export class IdleSandboxes {
  constructor(
    private readonly database: Database,
    private readonly identity: EngineIdentity,
    private readonly clock: Clock,
  ) {}

  async view(): Promise<IdleView> {
    const containers = await this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .where('c.deletedAt IS NULL')
      .andWhere(IS_IDLE, { unusedSince: this.database.timestamp(unusedSince(this.clock.now())) })
      .getCount();
    return { containers, cpu_shares: this.identity.idleCpuShares };
  }
}
