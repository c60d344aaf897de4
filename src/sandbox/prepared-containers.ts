import { Injectable, OnApplicationBootstrap } from '@nestjs/common';
import { UserService } from '../auth';
import { ContainerEngine } from '../docker';
import { EventLog } from '../events';
import { TiersService } from '../tiers';

/** Lets the engine prepare for programs in containers that this process has just started. */
@Injectable()
export class PreparedContainers implements OnApplicationBootstrap {
  constructor(
    private readonly events: EventLog,
    private readonly engine: ContainerEngine,
    private readonly users: UserService,
    private readonly tiers: TiersService,
  ) {}

  onApplicationBootstrap(): void {
    this.events.onCommitted((userId, events) => {
      const started = events.flatMap((event) => (event.type === 'container_started' ? [event.data.id] : []));
      // Without this, the first program only takes as long as Docker takes.
      if (started.length > 0) void this.prepare(userId, started).catch(() => undefined);
    });
  }

  private async prepare(userId: string, dockerIds: readonly string[]): Promise<void> {
    const tier = (await this.users.tiersOf([userId])).get(userId);
    const { programs } = this.engine;
    const isAllowed = tier !== undefined && this.tiers.allowsExec(tier);
    // A container that was started before a user asked for one may be prepared already.
    for (const dockerId of dockerIds) await (isAllowed ? programs.prepare(dockerId) : programs.unprepare(dockerId));
  }
}
