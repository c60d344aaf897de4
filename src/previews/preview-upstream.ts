import { Inject, Injectable } from '@nestjs/common';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { AuditLog } from '../audit';
import { CONFIG, type Config } from '../config';
import { ContainersService } from '../containers';
import { ContainerEngine } from '../engine';
import { DomainError, isPausedMeanwhile, pausedMeanwhile } from '../errors';
import { portFault } from '../sandbox';
import { Clock, LruMap } from '../scheduling';
import type { Admission } from './preview-access';

/** Traffic counts as use of the container. It is looked at at most this often, a third of the shortest idle limit. */
const USE_NOTED_EVERY_MS = 20_000;
/** Containers whose last use is remembered; a forgotten one costs a query. */
const MOST_USES = 10_000;

/** How soon a client may ask again for a container that starts. */
const STARTING_RETRY_SECONDS = 2;

/** Operations at whose end the container may run. */
const STARTING = ['create', 'start', 'update', 'move', 'resume'];

/** How long after a start the server in the container may take to listen, and how often it is tried. */
const LISTENS_WITHIN_MS = 20_000;
const LISTENS_RETRY_MS = 250;

/** Brings the container of an admitted visitor up, and connects to its port. */
@Injectable()
export class PreviewUpstream {
  private readonly uses = new LruMap<{ readonly at: number }>(MOST_USES);

  constructor(
    private readonly containers: ContainersService,
    private readonly engine: ContainerEngine,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'PREVIEW_RESUMES'>,
  ) {}

  /**
   * Resumes a paused container, unless the setting turns that off, and starts a stopped one whose `auto_start` is on.
   *
   * @returns false if the container ran already, so that the admission is up to date
   * @throws DomainError `container_starting`, `container_not_running`; as {@link ContainersService.resumed} and
   *   {@link ContainersService.start}
   */
  async wake(admission: Admission): Promise<boolean> {
    const { status, operation, engineId, autoStart, mayStart } = admission;
    if (status === 'running' && engineId !== null) return false;
    if (status === 'paused') {
      await this.resume(admission);
      return true;
    }
    const isStarting = status === 'creating' || (operation !== null && STARTING.includes(operation));
    if (isStarting && !autoStart) {
      throw new DomainError('container_starting', { retryAfter: STARTING_RETRY_SECONDS });
    }
    if (!autoStart || (status !== 'stopped' && !isStarting)) {
      throw new DomainError('container_not_running', { fields: mayStart ? { may_start: true } : {} });
    }
    await this.start(admission);
    return true;
  }

  /**
   * Starts the container for a visitor. A container that runs stays as it is.
   *
   * @throws DomainError `container_starting` if another operation takes long; as {@link ContainersService.start}
   */
  async start({ owner, containerId, status, operation }: Admission): Promise<void> {
    if (status === 'running') return;
    // Waits for an operation that is in progress, and does nothing more if that was a start.
    try {
      await this.containers.start(owner, containerId);
    } catch (error) {
      if (!(error instanceof DomainError) || error.kind !== 'operation_in_progress') throw error;
      throw new DomainError('container_starting', { retryAfter: STARTING_RETRY_SECONDS, cause: error });
    }
    if (operation !== null) return;
    await this.audit.recordSystem({ action: 'container.preview_start', subjectUserId: owner.userId, containerId });
  }

  /**
   * Connects to the port. If the container may have been started for its visitors just now, waits for its server to
   * listen. Programs with an API token are told at once that it does not.
   *
   * @param isGone whether the visitor has left
   * @throws DomainError `container_not_running`, `port_closed`, `application_failed`; as
   *   {@link ContainersService.resumed}
   */
  async connect(admission: Admission, isGone: () => boolean): Promise<Duplex> {
    const until = performance.now() + LISTENS_WITHIN_MS;
    for (;;) {
      try {
        return await this.connectAwake(admission);
      } catch (error) {
        const isClosed = error instanceof DomainError && error.kind === 'port_closed';
        if (!isClosed || !this.hasJustStarted(admission) || performance.now() > until || isGone()) throw error;
      }
      await delay(LISTENS_RETRY_MS);
    }
  }

  /** In the background: nothing waits for it, and the next use notes what this one could not. */
  noteUse({ containerId, owner }: Admission): void {
    const at = performance.now();
    const last = this.uses.get(containerId);
    if (last && at - last.at < USE_NOTED_EVERY_MS) return;
    this.uses.set(containerId, { at });
    this.containers.touch(owner, containerId).catch(() => this.uses.delete(containerId));
  }

  private hasJustStarted({ autoStart, mayStart, by, runStartedAt }: Admission): boolean {
    if (!autoStart && !(mayStart && by === 'link')) return false;
    // The row has no time yet just after a start.
    return runStartedAt === null || this.clock.now().getTime() - Date.parse(runStartedAt) < LISTENS_WITHIN_MS;
  }

  /** A snapshot, or an idle limit, may suspend the container just before the connection is made. */
  private async connectAwake(admission: Admission): Promise<Duplex> {
    try {
      return await this.dial(admission);
    } catch (error) {
      if (!isPausedMeanwhile(error)) throw error;
      await this.resume(admission);
      return this.dial(admission);
    }
  }

  /** Waits for a snapshot that suspends the container, too. */
  private async resume({ owner, containerId }: Admission): Promise<void> {
    if (this.config.PREVIEW_RESUMES === 'on') await this.containers.resumed(owner, containerId);
    else if ((await this.containers.afterSnapshot(owner, containerId)).status === 'paused') throw pausedMeanwhile();
  }

  private async dial({ engineId, port }: Admission): Promise<Duplex> {
    if (engineId === null) throw new DomainError('container_not_running');
    try {
      return await this.engine.ports.connect(engineId, port);
    } catch (error) {
      throw portFault(error);
    }
  }
}
