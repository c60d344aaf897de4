import { Injectable, OnModuleDestroy } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { dependsOn, OpenConnections, type Principal } from '../../auth';
import { ContainersService } from '../../containers';
import { type ContainerProcess, endOf, type ExecOutput } from '../../engine';
import { DomainError } from '../../errors';
import { acceptsEvents, AnswerStreams, type EventStream, parseLastEventId } from '../../http';
import { type OutputEncoding, OutputText } from '../commands/output-text';
import { BackgroundProcesses, type FoundProcess } from './background-processes';
import { OUTPUT_PAGE_BYTES, type ProcessExitView, type ProcessOutputView, type ReadOutputDto } from './dto';
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
    private readonly connections: OpenConnections,
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

  /**
   * One page of the output, also for other modules.
   *
   * @param reading.limit maximum bytes
   * @throws DomainError as {@link BackgroundProcesses.read}
   */
  async page(found: FoundProcess, reading: Reading & { after: number }): Promise<ProcessOutputView> {
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
    const stream = this.streams.enter(caller.userId, reply);
    if (this.processes.isClosing) throw new DomainError('shutting_down');
    const program = request.method === 'HEAD' ? null : await this.processes.read(found, after);
    const isFollowed = this.streams.open(stream, { request, reply }, () => {
      const remove = this.connections.add({ ...dependsOn(caller), end: () => stream.end() });
      if (program) this.followed.add(program);
      const noting = setInterval(() => void this.noteUse(call), NOTE_EVERY_MS).unref();
      return () => {
        remove();
        clearInterval(noting);
        if (program) this.followed.delete(program);
        program?.close();
      };
    });
    if (!isFollowed) {
      program?.close();
      return;
    }
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
    const text = new OutputChunks(readingOf(call.query));
    const send = (chunks: readonly OutputChunk[], end: number): void => {
      for (const [index, chunk] of chunks.entries()) {
        stream.send({ type: 'output', id: chunks[index + 1]?.offset ?? text.next(end), payload: chunk });
      }
    };
    let end = after > program.to ? program.from : after;
    for await (const { offset = end, ...piece } of program.output) {
      if (stream.isOver) return null;
      if (offset > end) {
        send(text.rest(), end);
        sendGap(offset);
      }
      end = offset + piece.data.length;
      send(text.take({ ...piece, offset }), end);
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

interface Reading {
  readonly limit: number;
  readonly encoding: OutputEncoding;
  /** Each chunk has its time. */
  readonly withTimes?: boolean;
}

function readingOf({ limit = OUTPUT_PAGE_BYTES.default, encoding = 'utf-8', times }: ReadOutputDto): Reading {
  return { limit, encoding, withTimes: times === 'true' };
}

function exitView({ exitCode, reason, endedAt }: ProcessRow): ProcessExitView {
  return {
    exit_code: exitCode,
    reason: reason ?? 'exited',
    exited_at: (endedAt ?? new Date()).toISOString(),
  };
}

/** Consecutive bytes of one output. */
interface OutputChunk {
  readonly stream: ExecOutput['stream'];
  /** The number of bytes of both outputs before this chunk. */
  readonly offset: number;
  readonly data: string;
  readonly time?: string;
}

/** A page of the output, and where the next one begins. */
interface OutputPage {
  readonly chunks: readonly OutputChunk[];
  readonly next: number;
  /** Whether part of the requested output is no longer kept. */
  readonly gap: boolean;
}

type Piece = Pick<ExecOutput, 'stream' | 'data'> & { readonly offset: number; readonly time?: number | undefined };

/**
 * Makes text of the pieces of an output. An incomplete UTF-8 character at the end of a piece waits for the next one,
 * unless the encoding is Base64.
 */
class OutputChunks {
  private begun: Piece | null = null;

  constructor(private readonly reading: Pick<Reading, 'encoding' | 'withTimes'>) {}

  /** The offset of the first byte that was not yet returned; `end` if nothing waits. */
  next(end: number): number {
    return this.begun?.offset ?? end;
  }

  take(piece: Piece): OutputChunk[] {
    const { begun } = this;
    const isNext = begun?.stream === piece.stream && begun.offset + begun.data.length === piece.offset;
    const chunks = isNext ? [] : this.rest();
    const whole = begun && isNext ? { ...begun, data: Buffer.concat([begun.data, piece.data]) } : piece;
    const left = this.reading.encoding === 'base64' ? 0 : begunBytes(whole.data);
    const end = whole.data.length - left;
    this.begun = left === 0 ? null : { ...whole, data: whole.data.subarray(end), offset: whole.offset + end };
    if (end > 0) chunks.push(this.chunkOf({ ...whole, data: whole.data.subarray(0, end) }));
    return chunks;
  }

  /** What still waits, as no more follows. */
  rest(): OutputChunk[] {
    const { begun } = this;
    this.begun = null;
    return begun ? [this.chunkOf(begun)] : [];
  }

  private chunkOf({ stream, data, offset, time }: Piece): OutputChunk {
    const { encoding, withTimes = false } = this.reading;
    const text = new OutputText(encoding);
    return {
      stream,
      offset,
      data: text.piece({ stream, data }) + text.rest(stream),
      ...(withTimes && time !== undefined && { time: new Date(time).toISOString() }),
    };
  }
}

/**
 * Reads at most `limit` bytes of what a process had written when the reader attached. An incomplete character at the
 * end is left for the next page, unless the output is over.
 */
async function readPage(
  program: ContainerProcess,
  { after, limit, isOver, ...reading }: Reading & { after: number; isOver: boolean },
): Promise<OutputPage> {
  const { from, to } = program;
  const runs: (Omit<Piece, 'data'> & { readonly parts: Buffer[] })[] = [];
  let end = from;
  if (from < to) {
    const upTo = Math.min(to, from + limit);
    for await (const { stream, data, time, offset = end } of program.output) {
      // The bytes between were overwritten meanwhile: the next page tells it.
      if (offset !== end) break;
      const part = data.subarray(0, upTo - end);
      const last = runs.at(-1);
      const isSame = last?.stream === stream && (reading.withTimes !== true || last.time === time);
      if (isSame) last.parts.push(part);
      else runs.push({ stream, offset: end, time, parts: [part] });
      end += part.length;
      if (end >= upTo) break;
    }
  }
  const text = new OutputChunks(reading);
  const chunks = runs.flatMap(({ parts, ...run }) => text.take({ ...run, data: Buffer.concat(parts) }));
  if (isOver && end >= to) chunks.push(...text.rest());
  return { chunks, next: text.next(end), gap: after < from };
}

/** The number of bytes at the end that begin a UTF-8 character which may still be completed. */
function begunBytes(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) && byte < 0xf8 ? back : 0;
    if (byte < 0x80) return 0;
  }
  return 0;
}
