import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../../auth';
import { ContainersService } from '../../containers';
import { DomainError } from '../../errors';
import { acceptsEvents, AnswerStreams, EventStream, parseLastEventId } from '../../http';
import { ExecAccess } from '../exec-access';
import { OUTPUT_PAGE_BYTES, type ProcessOutputView, type ReadOutputDto } from './dto';
import type { BackgroundProcess } from './background-process';
import { BackgroundProcesses } from './background-processes';

/** A client that follows an output uses the container, which is noted at intervals. */
const NOTE_EVERY_MS = 30_000;

/** A request for a process's output. */
interface OutputCall {
  readonly caller: Principal;
  readonly id: string;
  readonly processId: string;
  readonly query: ReadOutputDto;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/**
 * Answers with a page of a process's output, or follows it. The output is kept here, so a slow client does not hold up
 * the process.
 */
@Injectable()
export class ProcessAnswers {
  constructor(
    private readonly processes: BackgroundProcesses,
    private readonly containers: ContainersService,
    private readonly streams: AnswerStreams,
    private readonly rights: ExecAccess,
  ) {}

  /** @throws DomainError as {@link BackgroundProcesses.findHere}, `too_many_connections`, `shutting_down` */
  async output(call: OutputCall): Promise<void> {
    const { caller, id, processId, query, request, reply } = call;
    const after = parseLastEventId([request.headers['last-event-id']].flat()[0]) ?? query.after ?? 0;
    const kept = await this.processes.findHere(caller, id, processId);
    if (acceptsEvents(request)) await this.follow(kept, after, call);
    else await reply.status(200).send(pageView(kept, { ...readingOf(query), after }));
  }

  private async follow(kept: BackgroundProcess, after: number, call: OutputCall): Promise<void> {
    const { caller, request, reply } = call;
    const stream = new EventStream(reply.raw);
    this.streams.enter(caller.userId, stream);
    if (this.processes.isClosing) throw new DomainError('shutting_down');
    this.streams.open(stream, { request, reply });
    if (request.method === 'HEAD' || stream.isOver) {
      stream.end();
      return;
    }
    const unwatch = this.rights.watch(caller, () => stream.end());
    stream.onClose(() => {
      unwatch();
      kept.wake();
    });
    await this.sendFrom(after, kept, { ...call, stream });
    await stream.ended();
  }

  private async sendFrom(
    after: number,
    kept: BackgroundProcess,
    call: OutputCall & { stream: EventStream },
  ): Promise<void> {
    const { query, stream } = call;
    const reading = readingOf(query);
    for (let from = after; !stream.isOver && !this.processes.isClosing;) {
      const page = pageView(kept, { ...reading, after: from });
      if (page.gap) stream.send({ type: 'gap', payload: { offset: page.output[0]?.offset ?? page.next } });
      for (const [index, chunk] of page.output.entries()) {
        const id = page.output[index + 1]?.offset ?? page.next;
        stream.send({ type: 'output', id, payload: chunk });
        await stream.drained();
      }
      if (page.is_over) break;
      if (page.next === from) await this.waitForMore(kept, call);
      from = page.next;
    }
    const { end } = kept;
    if (end) {
      const payload = { exit_code: end.exitCode, reason: end.reason, exited_at: end.at.toISOString() };
      stream.send({ type: 'exit', payload });
    }
  }

  private async waitForMore(kept: BackgroundProcess, { caller, id }: OutputCall): Promise<void> {
    const { bytes } = kept.output;
    await kept.changedSince(bytes, NOTE_EVERY_MS);
    // The container may have been deleted.
    await this.containers.touch(caller, id).catch(() => undefined);
  }
}

type Reading = Required<Pick<ReadOutputDto, 'limit' | 'encoding'>>;

function readingOf({ limit = OUTPUT_PAGE_BYTES.default, encoding = 'utf-8' }: ReadOutputDto): Reading {
  return { limit, encoding };
}

function pageView(
  { output, end }: BackgroundProcess,
  { after, limit, encoding }: Reading & { after: number },
): ProcessOutputView {
  const isOver = end !== null;
  const { chunks, next, gap } = output.page({ after, limit, encoding, isOver });
  return { output: chunks, next, gap, is_over: isOver && next >= output.bytes };
}
