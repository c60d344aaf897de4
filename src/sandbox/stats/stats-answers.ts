import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../../auth';
import { ContainersService, type RunningContainer } from '../../containers';
import { DomainError } from '../../errors';
import { acceptsEvents, AnswerStreams, EventStream } from '../../http';
import { LOGGER, type Logger } from '../../logging';
import { failedAs } from '../program-errors';
import { ExecAccess } from '../exec-access';
import type { StatsEndView, StatsView } from './dto';
import { ContainerStatistics } from './stats';

/** A request for statistics, with its reply. */
interface StatsCall {
  readonly caller: Principal;
  readonly id: string;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Answers with statistics once, or as an event stream if the client accepts one. */
@Injectable()
export class StatsAnswers implements OnModuleDestroy {
  private readonly ends = new Set<(end: StatsEndView) => void>();
  private closing = false;

  constructor(
    private readonly containers: ContainersService,
    private readonly statistics: ContainerStatistics,
    private readonly rights: ExecAccess,
    private readonly answers: AnswerStreams,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onModuleDestroy(): void {
    this.closing = true;
    for (const end of [...this.ends]) end({ reason: 'server_stopped' });
  }

  /**
   * @throws DomainError as {@link ContainersService.inside}, `stats_failed`, `too_many_connections`, `shutting_down`
   */
  async answer(call: StatsCall): Promise<void> {
    if (acceptsEvents(call.request)) await this.stream(call);
    else await call.reply.status(200).send((await this.look(call)).stats);
  }

  /**
   * The first read counts as use of the container. The stream that follows does not, or a forgotten open page would
   * keep the container from counting as idle. A paused container stays paused.
   */
  private look({ caller, id }: StatsCall): Promise<{ container: RunningContainer; stats: StatsView }> {
    const read = async (container: RunningContainer): Promise<{ container: RunningContainer; stats: StatsView }> => {
      try {
        return { container, stats: await this.statistics.current(container.dockerId) };
      } catch (error) {
        throw failedAs('stats_failed', error);
      }
    };
    return this.containers.inside(caller, id, read, { mayBePaused: true });
  }

  private async stream(call: StatsCall): Promise<void> {
    const { caller, request, reply } = call;
    const stream = new EventStream(reply.raw);
    this.answers.enter(caller.userId, stream);
    const { container } = await this.look(call);
    if (this.closing) throw new DomainError('shutting_down');
    this.answers.open(stream, { request, reply });
    if (stream.isOver) return;
    // A response to HEAD has no body, so it has no events.
    if (request.method === 'HEAD') stream.end();
    else this.connect(stream, { caller, container });
  }

  private connect(
    stream: EventStream,
    { caller, container }: { caller: Principal; container: RunningContainer },
  ): void {
    const end = (why: StatsEndView): void => {
      stream.send({ type: 'end', payload: why });
      stream.end();
    };
    this.ends.add(end);
    const leave = this.statistics.follow(container.dockerId, {
      onStats: (stats) => stream.send({ type: 'stats', payload: stats }),
      onOver: () => {
        this.reasonOf(caller, container).then(end, (error: unknown) => {
          this.logger.warn({ err: error, container_id: container.id }, 'why a container ended could not be read');
          end({ reason: 'container_stopped' });
        });
      },
      // One failed read does not end the stream: the next read may succeed.
      onFault: () => undefined,
    });
    const unwatch = this.rights.watch(caller, ({ kind }) =>
      end({ reason: kind === 'exec_not_allowed' ? kind : 'token_ended' }),
    );
    stream.onClose(() => {
      this.ends.delete(end);
      leave();
      unwatch();
    });
  }

  /** Why the container ended, according to its current row. */
  private async reasonOf(caller: Principal, { id, dockerId }: RunningContainer): Promise<StatsEndView> {
    try {
      const row = await this.containers.find(caller, id);
      if (row.dockerId !== dockerId) return { reason: 'container_recreated' };
      const { statusReason: detail } = row;
      return detail === null ? { reason: 'container_stopped' } : { reason: 'container_stopped', detail };
    } catch (error) {
      if (error instanceof DomainError && error.kind === 'container_not_found') return { reason: 'container_deleted' };
      throw error;
    }
  }
}
