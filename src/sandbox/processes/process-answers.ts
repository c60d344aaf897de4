import { Injectable, OnModuleDestroy } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../../auth';
import { ContainersService } from '../../containers';
import { type ContainerProcess, endOf } from '../../engine';
import { DomainError } from '../../errors';
import { acceptsEvents, AnswerStreams, EventStream, parseLastEventId } from '../../http';
import { ExecAccess } from '../access/exec-access';
import { BackgroundProcesses, type FoundProcess } from './background-processes';
import { OUTPUT_PAGE_BYTES, type ProcessExitView, type ProcessOutputView, type ReadOutputDto } from './dto';
import { type OutputChunk, OutputChunks, readPage } from './process-output';
import type { ProcessRow } from './process-rows';

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

/** Answers with a page of a process's output, or follows it. A slow client does not hold up the process. */
@Injectable()
export class ProcessAnswers implements OnModuleDestroy {
  /** The readers of clients that follow an output. */
  private readonly followed = new Set<ContainerProcess>();

  constructor(
    private readonly processes: BackgroundProcesses,
    private readonly containers: ContainersService,
    private readonly streams: AnswerStreams,
    private readonly rights: ExecAccess,
  ) {}

  /** Clients that follow an output are disconnected, and can come back. */
  onModuleDestroy(): void {
    for (const program of this.followed) program.close();
  }

  /** @throws DomainError as {@link BackgroundProcesses.find}, `too_many_connections`, `shutting_down` */
  async output(call: OutputCall): Promise<void> {
    const { caller, id, processId, query, request, reply } = call;
    const after = parseLastEventId([request.headers['last-event-id']].flat()[0]) ?? query.after ?? 0;
    const found = await this.processes.find(caller, id, processId);
    if (acceptsEvents(request)) await this.follow(found, after, call);
    else await reply.status(200).send(await this.page(found, { ...readingOf(query), after }));
  }

  private async page(found: FoundProcess, reading: Reading & { after: number }): Promise<ProcessOutputView> {
    const { after } = reading;
    const program = await this.processes.read(found, after);
    const isEnded = found.row.endedAt !== null;
    // The output has ended with the sandbox.
    if (!program) return { output: [], next: after, gap: true, is_over: true };
    try {
      const { chunks, next, gap } = await readPage(program, { ...reading, isOver: isEnded });
      return { output: chunks, next, gap, is_over: isEnded && next >= program.to };
    } finally {
      program.close();
    }
  }

  private async follow(found: FoundProcess, after: number, call: OutputCall): Promise<void> {
    const { caller, request, reply } = call;
    const stream = new EventStream(reply.raw);
    this.streams.enter(caller.userId, stream);
    if (this.processes.isClosing) throw new DomainError('shutting_down');
    const program = request.method === 'HEAD' ? null : await this.processes.read(found, after);
    this.streams.open(stream, { request, reply });
    if (request.method === 'HEAD' || stream.isOver) {
      program?.close();
      stream.end();
      return;
    }
    const unwatch = this.rights.watch(caller, () => stream.end());
    if (program) this.followed.add(program);
    const noting = setInterval(() => void this.noteUse(call), NOTE_EVERY_MS).unref();
    stream.onClose(() => {
      unwatch();
      clearInterval(noting);
      if (program) this.followed.delete(program);
      program?.close();
    });
    const end = await this.sendFrom(after, { found, program, stream, call });
    if (end) stream.send({ type: 'exit', payload: end });
    stream.end();
  }

  /** @returns the event `exit`; null if the client has gone, or the connection to the sandbox broke */
  private async sendFrom(after: number, { found, program, stream, call }: Following): Promise<ProcessExitView | null> {
    const sendGap = (offset: number): void => stream.send({ type: 'gap', payload: { offset } });
    if (!program) {
      sendGap(after);
      return exitView(found.row);
    }
    const text = new OutputChunks(readingOf(call.query).encoding);
    const send = (chunks: readonly OutputChunk[], end: number): void => {
      for (const [index, chunk] of chunks.entries()) {
        stream.send({ type: 'output', id: chunks[index + 1]?.offset ?? text.next(end), payload: chunk });
      }
    };
    let end = after > program.to ? program.from : after;
    for await (const { stream: from, data, offset = end } of program.output) {
      if (stream.isOver) return null;
      if (offset > end) {
        send(text.rest(), end);
        sendGap(offset);
      }
      end = offset + data.length;
      send(text.take({ stream: from, data, offset }), end);
      await stream.drained();
    }
    if (stream.isOver || this.processes.isClosing) return null;
    send(text.rest(), end);
    if (found.row.endedAt !== null) return exitView(found.row);
    const how = await endOf(program);
    if (how.kind === 'lost') return null;
    const isStopped = how.kind === 'container_ended';
    const seen = isStopped
      ? ({ reason: 'container_stopped', exitCode: null } as const)
      : ({ reason: 'exited', exitCode: how.code } as const);
    return exitView(await this.processes.noteEnd(found.row, seen));
  }

  private async noteUse({ caller, id }: OutputCall): Promise<void> {
    // The container may have been deleted.
    await this.containers.touch(caller, id).catch(() => undefined);
  }
}

interface Following {
  readonly found: FoundProcess;
  readonly program: ContainerProcess | null;
  readonly stream: EventStream;
  readonly call: OutputCall;
}

type Reading = Required<Pick<ReadOutputDto, 'limit' | 'encoding'>>;

function readingOf({ limit = OUTPUT_PAGE_BYTES.default, encoding = 'utf-8' }: ReadOutputDto): Reading {
  return { limit, encoding };
}

function exitView({ exitCode, reason, endedAt }: ProcessRow): ProcessExitView {
  return {
    exit_code: exitCode,
    reason: reason ?? 'exited',
    exited_at: (endedAt ?? new Date()).toISOString(),
  };
}
