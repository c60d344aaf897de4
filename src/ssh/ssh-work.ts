import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import type { ServerChannel } from 'ssh2';
import { type AuditIntent, AuditLog, RequestAudit, showable } from '../audit';
import type { Principal } from '../auth';
import { ContainersService } from '../containers';
import { DomainError } from '../errors';
import { Draining } from '../http';
import type { SshBounds } from './ssh-bounds';
import { type ChannelKind, SshMetrics } from './ssh-metrics';
import { forgetStalled } from './ssh2-internals';

/** The connection of a user who has logged in. */
export interface SshConnection {
  readonly principal: Principal;
  /** The container's name or id: what the client gave as its user's name. */
  readonly container: string;
  /** The client's. */
  readonly address: string;
  readonly bounds: SshBounds;
  /** Aborted when the connection ends. */
  readonly over: AbortSignal;
}

interface Work {
  readonly action: AuditIntent['action'];
  readonly kind: ChannelKind;
}

/** Surrounds what a client does in its container: finds the container, writes the audit entry, counts. */
@Injectable()
export class SshWork {
  constructor(
    private readonly containers: ContainersService,
    private readonly audit: RequestAudit,
    private readonly log: AuditLog,
    private readonly draining: Draining,
    private readonly metrics: SshMetrics,
  ) {}

  /** Whether the server is about to end, so that connections end for no reason of their clients. */
  get isDraining(): boolean {
    return this.draining.begun;
  }

  /**
   * Runs `work` with the container's id, once the container is started if its `auto_start` is on. The audit entry is
   * written before, its outcome afterwards.
   *
   * @throws DomainError `container_not_found`, `ambiguous_id`, `not_authorized`, `shutting_down`; as
   *   {@link ContainersService.start}; errors of `work`
   */
  async during<T>(client: SshConnection, { action, kind }: Work, work: (id: string) => Promise<T>): Promise<T> {
    const { principal, container, address } = client;
    const { userId, tokenId } = principal;
    const intent = { action, userId, tokenId, targetId: showable(container), address, requestId: randomUUID() };
    const ended = this.metrics.begin(kind);
    try {
      const done = await this.audit.inContext(intent, async () => {
        if (this.draining.begun) throw new DomainError('shutting_down');
        return work(await this.started(client, await this.containers.findNamed(principal, container)));
      });
      ended('ok');
      return done;
    } catch (error) {
      ended(error instanceof DomainError ? error.code : 'internal_error');
      throw error;
    }
  }

  /** Starts a stopped container whose `auto_start` is on. @returns its id */
  private async started({ principal }: SshConnection, { id, status, autoStart }: Row): Promise<string> {
    if (status !== 'stopped' || !autoStart) return id;
    await this.containers.start(principal, id);
    await this.log.recordSystem({ action: 'container.ssh_start', subjectUserId: principal.userId, containerId: id });
    return id;
  }
}

type Row = Awaited<ReturnType<ContainersService['findNamed']>>;

/**
 * The outputs of a channel, written one piece after the other. A write is done when the client has room for more: in
 * its window, and on its connection, which `ssh2` itself does not look at.
 */
export class ChannelOutput {
  private last: Promise<void> = Promise.resolve();

  constructor(
    private readonly channel: ServerChannel,
    private readonly bounds: SshBounds,
    private readonly over: AbortSignal,
  ) {}

  /** Resolves also when the channel is over: the rest is dropped. */
  write(stream: 'stdout' | 'stderr', data: Buffer): Promise<void> {
    this.last = this.last.then(() => this.writeNext(stream, data));
    return this.last;
  }

  private async writeNext(stream: 'stdout' | 'stderr', data: Buffer): Promise<void> {
    await this.room();
    if (this.over.aborted || !this.channel.writable) return;
    const target = stream === 'stdout' ? this.channel : this.channel.stderr;
    await this.untilOver((done) => target.write(data, done));
    forgetStalled(this.channel);
    await this.room();
  }

  /** Waits until the connection takes output. */
  private async room(): Promise<void> {
    const { bounds, over } = this;
    while (bounds.isFull && !over.aborted) await this.untilOver((done) => void bounds.nextChange().then(done));
  }

  private untilOver(begin: (done: () => void) => void): Promise<void> {
    const { over } = this;
    return new Promise((resolve) => {
      const done = (): void => {
        over.removeEventListener('abort', done);
        resolve();
      };
      over.addEventListener('abort', done, { once: true });
      begin(done);
      if (over.aborted) done();
    });
  }
}
