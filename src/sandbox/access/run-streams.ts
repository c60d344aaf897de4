import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Choice, Text } from '../../api-fields';
import { type ConnectionGroup, dependsOn, OpenConnections, type Principal } from '../../auth';
import { ContainersService, type RunningContainer } from '../../containers';
import { DomainError } from '../../errors';
import { acceptsEvents, AnswerStreams, type EventStream } from '../../http';
import { LOGGER, type Logger } from '../../logging';

/** The reasons that can end every event stream about containers. */
type AccessEnd = 'token_ended' | 'exec_not_allowed' | 'server_stopped';

/** A request for an event stream, with its reply. */
export interface StreamCall {
  readonly caller: Principal;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Ends a stream with a last event `end`, whose `data` is the reason. */
type EndStream<End extends object> = (why: End | { readonly reason: AccessEnd }) => void;

export const RUN_ENDS = [
  'container_stopped',
  'container_recreated',
  'container_deleted',
  'token_ended',
  'exec_not_allowed',
  'server_stopped',
] as const;

/** Why a stream about a container's run ends; the `data` of the event `end`. */
export class RunEndView {
  @Choice(RUN_ENDS, { example: 'container_stopped' })
  readonly reason: (typeof RUN_ENDS)[number];
  @Text('Why the container stopped, if the stop was not requested.', { required: false, example: 'oom' })
  readonly detail?: string;
}

/** A request for something that changes while a container runs, with its reply. */
interface RunCall extends StreamCall {
  readonly id: string;
}

/** What a client sees of a container's run. */
export interface RunSource<T extends object> {
  /** The type of the stream's events. */
  readonly type: string;
  /** Whether a paused container stays paused; otherwise the request resumes it. */
  readonly mayBePaused: boolean;
  /** The current value, for the answer. */
  readonly current: (container: RunningContainer) => Promise<T>;
  /**
   * Calls `onValue` with the values that follow, and `onOver` once, when the container does not run any more.
   *
   * @returns a function that stops that
   */
  readonly follow: (
    container: RunningContainer,
    reader: { readonly onValue: (value: T) => void; readonly onOver: () => void },
  ) => () => void;
}

/**
 * Event streams about containers, each of which ends with its caller's access and with the server. Answers with a value
 * of a container's run once, or as such a stream if the client accepts one.
 */
@Injectable()
export class RunStreams implements OnModuleDestroy {
  private readonly open: ConnectionGroup;

  constructor(
    private readonly containers: ContainersService,
    private readonly answers: AnswerStreams,
    connections: OpenConnections,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.open = connections.group();
  }

  onModuleDestroy(): void {
    this.open.close();
  }

  /**
   * @throws DomainError as {@link ContainersService.inside}, `too_many_connections`, `shutting_down`; those of the
   *   source
   */
  async answer<T extends object>(call: RunCall, source: RunSource<T>): Promise<void> {
    if (acceptsEvents(call.request)) await this.stream(call, source);
    else await call.reply.status(200).send((await this.look(call, source)).value);
  }

  /** Takes the caller's place for a stream. @throws DomainError `too_many_connections` */
  enter({ caller, reply }: Pick<StreamCall, 'caller' | 'reply'>): EventStream {
    return this.answers.enter(caller.userId, reply);
  }

  /**
   * Answers with a stream.
   *
   * @param connect begins to send; returns a function that is called when the stream has closed
   * @throws DomainError `shutting_down`
   */
  begin<End extends object>(
    stream: EventStream,
    { caller, request, reply }: StreamCall,
    connect: (end: EndStream<End>) => () => void,
  ): void {
    if (this.open.isClosed) throw new DomainError('shutting_down');
    this.answers.open(stream, { request, reply }, () => {
      const end: EndStream<End> = (why) => {
        stream.send({ type: 'end', payload: why });
        stream.end();
      };
      const leave = connect(end);
      const remove = this.open.add({ ...dependsOn(caller), end: (reason) => end({ reason: endOf(reason) }) });
      return () => {
        leave();
        remove();
      };
    });
  }

  /**
   * The first read counts as use of the container. The stream that follows does not, or a forgotten open page would
   * keep the container from counting as idle.
   */
  private look<T extends object>(
    { caller, id }: RunCall,
    { current, mayBePaused }: RunSource<T>,
  ): Promise<{ container: RunningContainer; value: T }> {
    const read = async (container: RunningContainer) => ({ container, value: await current(container) });
    return this.containers.inside(caller, id, read, { mayBePaused });
  }

  private async stream<T extends object>(call: RunCall, source: RunSource<T>): Promise<void> {
    const { caller } = call;
    const stream = this.enter(call);
    const { container } = await this.look(call, source);
    this.begin<RunEndView>(stream, call, (end) =>
      source.follow(container, {
        onValue: (value) => stream.send({ type: source.type, payload: value }),
        onOver: () => {
          void this.endOfRun(caller, container).then(end);
        },
      }),
    );
  }

  /** Why a run has ended, according to the container's current row. Never throws. */
  endOfRun(caller: Principal, container: Pick<RunningContainer, 'id' | 'engineId'>): Promise<RunEndView> {
    return this.reasonOf(caller, container).catch((error: unknown) => {
      this.logger.warn({ err: error, container_id: container.id }, 'why a container ended could not be read');
      return { reason: 'container_stopped' };
    });
  }

  /** @throws DomainError */
  private async reasonOf(
    caller: Principal,
    { id, engineId }: Pick<RunningContainer, 'id' | 'engineId'>,
  ): Promise<RunEndView> {
    try {
      const row = await this.containers.find(caller, id);
      if (row.engineId !== engineId) return { reason: 'container_recreated' };
      const { statusReason: detail } = row;
      return detail === null ? { reason: 'container_stopped' } : { reason: 'container_stopped', detail };
    } catch (error) {
      if (error instanceof DomainError && error.kind === 'container_not_found') return { reason: 'container_deleted' };
      throw error;
    }
  }
}

function endOf({ kind }: DomainError): AccessEnd {
  if (kind === 'exec_not_allowed') return kind;
  return kind === 'shutting_down' ? 'server_stopped' : 'token_ended';
}
