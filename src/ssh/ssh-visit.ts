import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import type { ServerChannel } from 'ssh2';
import { type AuditIntent, AuditLog, RequestAudit, showable, subjectOf } from '../audit';
import type { Principal } from '../auth';
import { ContainersService } from '../containers';
import { DomainError } from '../errors';
import { Draining } from '../http';
import { requestContext, type RequestContext } from '../logging';
import { type ChannelKind, SshMetrics } from './ssh-metrics';

/** Output that waits for a client's connection, beyond which programs wait. */
const MOST_UNSENT = 1024 * 1024;

/** The connection of a user who has logged in. */
export interface SshVisit {
  readonly principal: Principal;
  /** The container's name or id: what the client gave as its user's name. */
  readonly container: string;
  /** The client's. */
  readonly address: string;
  readonly socket: Socket;
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

  /**
   * Runs `work` with the container's id, once the container is started if its `auto_start` is on. The audit entry is
   * written before, its outcome afterwards.
   *
   * @throws DomainError `container_not_found`, `ambiguous_id`, `not_authorized`, `shutting_down`; as
   *   {@link ContainersService.start}; errors of `work`
   */
  async during<T>(visit: SshVisit, { action, kind }: Work, work: (id: string) => Promise<T>): Promise<T> {
    const { principal, container, address } = visit;
    const { userId, tokenId } = principal;
    const context: RequestContext = { requestId: randomUUID(), userId };
    const intent = { action, userId, tokenId, targetId: showable(container), address, requestId: context.requestId };
    const ended = this.metrics.begin(kind);
    try {
      const done = await this.audit.during(intent, {
        work: () =>
          requestContext.run(context, async () => {
            if (this.draining.begun) throw new DomainError('shutting_down');
            return work(await this.started(visit, await this.containers.findNamed(principal, container)));
          }),
        found: () => subjectOf(context),
      });
      ended('ok');
      return done;
    } catch (error) {
      ended(error instanceof DomainError ? error.code : 'internal_error');
      throw error;
    }
  }

  /** Starts a stopped container whose `auto_start` is on. @returns its id */
  private async started({ principal }: SshVisit, { id, status, autoStart }: Row): Promise<string> {
    if (status !== 'stopped' || !autoStart) return id;
    await this.containers.start(principal, id);
    await this.log.recordSystem({ action: 'container.ssh_start', subjectUserId: principal.userId, containerId: id });
    return id;
  }
}

type Row = Awaited<ReturnType<ContainersService['findNamed']>>;

/** What `ssh2` keeps of a write that waits for the client's window (1.17.0). */
interface Stalled {
  _chunk?: unknown;
  _chunkcb?: unknown;
  _chunkErr?: unknown;
  _chunkcbErr?: unknown;
}

/**
 * The outputs of a channel, written one piece after the other. A write is done when the client has room for more: in
 * its window, and on its connection, which `ssh2` itself does not look at.
 */
export class ChannelOutput {
  private last: Promise<void> = Promise.resolve();

  constructor(
    private readonly channel: ServerChannel,
    private readonly socket: Socket,
    private readonly over: AbortSignal,
  ) {}

  /** Resolves also when the channel is over: the rest is dropped. */
  write(stream: 'stdout' | 'stderr', data: Buffer): Promise<void> {
    this.last = this.last.then(() => this.writeNext(stream, data));
    return this.last;
  }

  private async writeNext(stream: 'stdout' | 'stderr', data: Buffer): Promise<void> {
    if (this.over.aborted || !this.channel.writable) return;
    const target = stream === 'stdout' ? this.channel : this.channel.stderr;
    await this.untilOver((done) => target.write(data, done));
    // ssh2 forgets to forget what has waited for the window: it would send it again when the other output waits.
    const stalled = this.channel as Stalled;
    Object.assign(stalled, { _chunk: undefined, _chunkcb: undefined, _chunkErr: undefined, _chunkcbErr: undefined });
    await this.sent();
  }

  /** Waits until the connection has taken enough of what was written. */
  private async sent(): Promise<void> {
    const { socket } = this;
    if (socket.writableLength <= MOST_UNSENT || socket.destroyed) return;
    let stop = (): void => undefined;
    await this.untilOver((done) => {
      socket.once('drain', done);
      stop = () => void socket.off('drain', done);
    });
    stop();
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
