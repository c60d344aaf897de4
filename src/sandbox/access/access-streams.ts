import { Injectable, OnModuleDestroy } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../../auth';
import { DomainError } from '../../errors';
import { AnswerStreams, EventStream } from '../../http';
import { ExecAccess } from './exec-access';

/** The reasons that can end every event stream about containers. */
export type AccessEnd = 'token_ended' | 'exec_not_allowed' | 'server_stopped';

/** A request for an event stream, with its reply. */
export interface StreamCall {
  readonly caller: Principal;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Ends a stream with a last event `end`, whose `data` is the reason. */
export type EndStream<End extends object> = (why: End | { readonly reason: AccessEnd }) => void;

/** Event streams about containers, each of which ends with its caller's access and with the server. */
@Injectable()
export class AccessStreams implements OnModuleDestroy {
  private readonly ends = new Set<EndStream<never>>();
  private closing = false;

  constructor(
    private readonly rights: ExecAccess,
    private readonly answers: AnswerStreams,
  ) {}

  onModuleDestroy(): void {
    this.closing = true;
    for (const end of [...this.ends]) end({ reason: 'server_stopped' });
  }

  /** Takes the caller's place for a stream. @throws DomainError `too_many_connections` */
  enter({ caller, reply }: Pick<StreamCall, 'caller' | 'reply'>): EventStream {
    const stream = new EventStream(reply.raw);
    this.answers.enter(caller.userId, stream);
    return stream;
  }

  /**
   * Answers with the stream.
   *
   * @param connect begins to send; returns a function that is called when the stream has closed
   * @throws DomainError `shutting_down`
   */
  open<End extends object>(
    stream: EventStream,
    { caller, request, reply }: StreamCall,
    connect: (end: EndStream<End>) => () => void,
  ): void {
    if (this.closing) throw new DomainError('shutting_down');
    this.answers.open(stream, { request, reply });
    if (stream.isOver) return;
    // A response to HEAD has no body, so it has no events.
    if (request.method === 'HEAD') {
      stream.end();
      return;
    }
    const end: EndStream<End> = (why) => {
      stream.send({ type: 'end', payload: why });
      stream.end();
    };
    this.ends.add(end);
    const leave = connect(end);
    const unwatch = this.rights.watch(caller, ({ kind }) =>
      end({ reason: kind === 'exec_not_allowed' ? kind : 'token_ended' }),
    );
    stream.onClose(() => {
      this.ends.delete(end);
      leave();
      unwatch();
    });
  }
}
