import { Controller, Get, Injectable, Logger, Module, OnApplicationShutdown, Param, Post } from '@nestjs/common';
import { CurrentPrincipal, type Principal, Scopes } from '../../src/auth';
import { type Caller, ContainersModule, ContainersService, StatusWait } from '../../src/containers';
import { type BerthEvent, EventFeed, EventsModule, type Subscription } from '../../src/events';

/** A container for each workspace of a user, and what became of it. */
@Injectable()
export class Workspaces implements OnApplicationShutdown {
  private readonly logger = new Logger(Workspaces.name);
  private readonly subscriptions = new Map<string, Promise<Subscription>>();
  private readonly stops = new Map<string, string>();

  constructor(
    private readonly containers: ContainersService,
    private readonly statusWait: StatusWait,
    private readonly feed: EventFeed,
  ) {}

  /** @returns the `db_id` of the user's container of that name, which runs now */
  async open(owner: Caller, name: string): Promise<string> {
    const { containers, event_seq: after } = await this.containers.list(owner, { name });
    await this.follow(owner, after);
    const found = containers.find((each) => 'db_id' in each);
    const id = found?.db_id ?? (await this.containers.create(owner, { image: 'sandbox', name })).db_id;
    if (found?.status === 'stopped') await this.containers.start(owner, id);
    await this.statusWait.until(owner, id, { status: 'running', timeoutMs: 30_000 });
    return id;
  }

  /** Runs a command in a workspace. @returns what it wrote */
  async run(owner: Caller, id: string, command: readonly string[]): Promise<string> {
    const output: Buffer[] = [];
    await this.containers.exec(owner, id, {
      command,
      timeoutMs: 10_000,
      maxOutputBytes: 64 * 1024,
      onOutput: ({ data }) => output.push(data),
    });
    return Buffer.concat(output).toString();
  }

  /** Why a workspace stopped the last time, since this process follows its owner; null: it did not. */
  lastStop(id: string): string | null {
    return this.stops.get(id) ?? null;
  }

  async onApplicationShutdown(): Promise<void> {
    for (const begun of this.subscriptions.values()) (await begun).close();
  }

  /** From `after` on, every event once and in order, whichever process committed it. */
  private async follow({ userId }: Caller, after: number): Promise<void> {
    const begun = this.subscriptions.get(userId) ?? this.subscribe(userId, after);
    this.subscriptions.set(userId, begun);
    // Another call tries again.
    begun.catch(() => this.subscriptions.delete(userId));
    await begun;
  }

  private subscribe(userId: string, after: number): Promise<Subscription> {
    return this.feed.subscribe({
      userId,
      after,
      onEvent: (event: BerthEvent) => {
        if (event.type !== 'container_stopped') return;
        const { db_id: id, name, reason } = event.data;
        this.stops.set(id, reason ?? 'asked to');
        this.logger.log(`${name} stopped: ${reason ?? 'asked to'}`);
      },
      onResyncRequired: (eventSeq) => this.logger.warn(`list again; events follow after ${String(eventSeq)}`),
    });
  }
}

/** Routes of its own, behind the same tokens: `POST /api/workspaces/:name`. */
@Controller('workspaces')
class WorkspacesController {
  constructor(private readonly workspaces: Workspaces) {}

  @Post(':name')
  @Scopes('write')
  async open(@CurrentPrincipal() caller: Principal, @Param('name') name: string): Promise<{ id: string }> {
    return { id: await this.workspaces.open(caller, name) };
  }

  @Get(':id/kernel')
  @Scopes('exec')
  async kernel(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<{ kernel: string }> {
    return { kernel: await this.workspaces.run(caller, id, ['uname', '-s']) };
  }
}

@Module({
  imports: [ContainersModule, EventsModule],
  controllers: [WorkspacesController],
  providers: [Workspaces],
  exports: [Workspaces],
})
export class WorkspacesModule {}
