import { Injectable, OnApplicationBootstrap } from '@nestjs/common';
import { UserService } from '../auth';
import { ContainersService } from '../containers';
import { ContainerEngine } from '../engine';
import { EventLog } from '../events';
import { TiersService } from '../tiers';

/** Lets the engine prepare for programs in containers that this process has just started. */
@Injectable()
export class PreparedContainers implements OnApplicationBootstrap {
  constructor(
    private readonly events: EventLog,
    private readonly engine: ContainerEngine,
    private readonly containers: ContainersService,
    private readonly users: UserService,
    private readonly tiers: TiersService,
  ) {}

  onApplicationBootstrap(): void {
    this.events.onCommitted((userId, events) => {
      const started = events.flatMap((event) => (event.type === 'container_started' ? [event.data.db_id] : []));
      // Without this, the first program only takes as long as Docker takes.
      if (started.length > 0) void this.prepare(userId, started).catch(() => undefined);
    });
  }

  private async prepare(userId: string, ids: readonly string[]): Promise<void> {
    const tier = (await this.users.tiersOf([userId])).get(userId);
    const { programs } = this.engine;
    const isAllowed = tier !== undefined && this.tiers.allowsExec(tier);
    for (const id of ids) {
      const row = await this.containers.find({ userId, boundTo: null }, id);
      if (row.engineId === null) continue;
      if (isAllowed) await programs.prepare(row.engineId);
    }
  }
}
