import { Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { type ConnectionGroup, dependsOn, OpenConnections } from '../../auth';
import { type ContainerProcess, endOf, type ProgramExit, type SignalName, type TerminalSize } from '../../engine';
import { DomainError, type FieldFault, invalidParameters } from '../../errors';
import { KeyedLimiter } from '../../scheduling';
import { BackgroundProcesses, type FoundProcess } from '../../sandbox';
import { callOf, type EnvdCall } from './envd-call';
import { pathIn } from './filesystem-service';
import { keepAliveOf, withPauses } from './keep-alive';
import {
  type Process,
  type ProcessConfig,
  type ProcessEvent,
  ProcessEventSchema,
  type ProcessInput,
  type ProcessSelector,
  type PTY,
  Signal,
  type StartRequest,
} from './generated/process_pb';

type Event = NonNullable<MessageInitShape<typeof ProcessEventSchema>['event']>;
type Events = AsyncGenerator<Event, void>;

/** Streams of one sandbox at a time, of all clients. */
const MOST_STREAMS = 64;

/** Arguments and variables together, in bytes, and how many. */
const MOST_COMMAND_BYTES = 64 * 1024;
const MOST_PARTS = 1_024;
const MOST_TAG_BYTES = 128;
const LARGEST_SIZE = 1_000;

const SIGNALS: Readonly<Record<Signal, SignalName | null>> = {
  [Signal.UNSPECIFIED]: null,
  [Signal.SIGTERM]: 'TERM',
  [Signal.SIGKILL]: 'KILL',
};

/**
 * envd's processes: background processes of Berth, which its clients know by their pids. They survive their clients and
 * the server. The deadline of a Start ends its process, as in E2B; a client that leaves does not.
 */
@Injectable()
export class ProcessService implements OnModuleDestroy {
  private readonly streams = new KeyedLimiter(MOST_STREAMS);
  private readonly open: ConnectionGroup;

  constructor(
    private readonly processes: BackgroundProcesses,
    connections: OpenConnections,
  ) {
    this.open = connections.group();
  }

  onModuleDestroy(): void {
    this.open.close();
  }

  /** The handlers of the Connect service. All throw {@link DomainError}. */
  readonly handlers: ServiceImpl<typeof Process> = {
    list: async (_request, context) => ({ processes: await this.list(callOf(context)) }),
    start: (request, context) => responses(this.start(request, context)),
    connect: (request, context) => responses(this.connect(request.process, context)),
    update: async ({ process, pty }, context) => {
      const call = callOf(context);
      const { row } = await this.find(call, process);
      if (pty) await this.processes.resize(call.principal, call.containerId, row.id, sizeOf(pty));
      return {};
    },
    sendInput: async ({ process, input }, context) => {
      await this.write(callOf(context), process, input);
      return {};
    },
    streamInput: async (requests, context) => {
      let target: ProcessSelector | undefined;
      for await (const { event } of requests) {
        if (event.case === 'start') target = event.value.process;
        if (event.case === 'data') await this.write(callOf(context), target, event.value.input);
      }
      return {};
    },
    sendSignal: async ({ process, signal }, context) => {
      const name = SIGNALS[signal] ?? null;
      if (name === null) throw refused('signal', 'must be SIGNAL_SIGTERM or SIGNAL_SIGKILL');
      const call = callOf(context);
      const { row } = await this.find(call, process);
      await this.processes.signal(call.principal, call.containerId, row.id, name);
      return {};
    },
    closeStdin: async ({ process }, context) => {
      const call = callOf(context);
      const { row } = await this.find(call, process);
      const nothing = { processId: row.id, data: Buffer.alloc(0), close: true };
      await this.processes.write(call.principal, call.containerId, nothing);
      return {};
    },
  };

  private async running({ principal, containerId }: EnvdCall): Promise<FoundProcess[]> {
    const all = await this.processes.list(principal, containerId);
    return all.filter(({ row, found }) => row.endedAt === null && found !== null && found.state.exit === null);
  }

  private async list(call: EnvdCall) {
    const found = await this.running(call);
    return found.map(({ found: program }) => {
      const [cmd = '', ...args] = program?.command ?? [];
      return { config: { cmd, args }, pid: program?.state.pid ?? 0, ...(program?.tag && { tag: program.tag }) };
    });
  }

  /** @throws DomainError `process_not_found` if none that runs has the pid or the tag */
  private async find(call: EnvdCall, { selector }: Partial<ProcessSelector> = {}): Promise<FoundProcess> {
    if (selector?.case === undefined) throw refused('process', 'must name a process by pid or tag');
    const matches = ({ found }: FoundProcess): boolean =>
      selector.case === 'pid' ? found?.state.pid === selector.value : found?.tag === selector.value;
    const found = (await this.running(call)).find(matches);
    if (!found) throw new DomainError('process_not_found');
    return found;
  }

  private async write(call: EnvdCall, target: ProcessSelector | undefined, given?: ProcessInput): Promise<void> {
    const { input } = given ?? {};
    if (input?.case === undefined) throw refused('input', 'must have stdin or pty');
    const { row, found } = await this.find(call, target);
    if ((input.case === 'pty') !== found?.state.hasTerminal) {
      throw refused(
        'input',
        `must be ${input.case === 'pty' ? 'stdin: the process has no' : 'pty: the process has a'} terminal`,
      );
    }
    const written = { processId: row.id, data: Buffer.from(input.value), close: false };
    await this.processes.write(call.principal, call.containerId, written);
  }

  private async *start(request: StartRequest, context: HandlerContext): Events {
    const call = callOf(context);
    const { process, pty, tag, stdin } = request;
    const leftMs = context.timeoutMs();
    const started = await this.processes.start(call.principal, call.containerId, {
      ...commandOf(call, process),
      user: call.user,
      terminal: pty ? sizeOf(pty) : false,
      stdin: stdin ?? true,
      tag: tagOf(tag),
      timeoutMs: leftMs === undefined ? undefined : Math.max(leftMs, 1),
    });
    yield* this.follow(started, { context, after: 0 });
  }

  private async *connect(target: ProcessSelector | undefined, context: HandlerContext): Events {
    const found = await this.find(callOf(context), target);
    yield* this.follow(found, { context, after: found.found?.state.to ?? 0 });
  }

  /** Sends what a process writes, as fast as the client reads, until it ends. It goes on without the client. */
  private async *follow(
    found: FoundProcess,
    { context, after }: { readonly context: HandlerContext; readonly after: number },
  ): Events {
    const { principal, containerId } = callOf(context);
    const leave = this.streams.take(containerId);
    if (!leave) throw new DomainError('too_many_connections');
    const over = new AbortController();
    const end = (reason: unknown): void => over.abort(reason);
    const gone = (): void => end(context.signal.reason);
    const remove = this.open.add({ ...dependsOn(principal), end });
    context.signal.addEventListener('abort', gone, { once: true });
    let reader: ContainerProcess | null = null;
    const close = (): void => reader?.close();
    over.signal.addEventListener('abort', close, { once: true });
    try {
      if (context.signal.aborted) gone();
      if (this.open.isClosed) throw new DomainError('shutting_down');
      reader = await this.processes.read(found, after);
      over.signal.throwIfAborted();
      yield { case: 'start', value: { pid: found.found?.state.pid ?? 0 } };
      if (reader) yield* this.events(reader, { found, everyMs: keepAliveOf(context), after });
      over.signal.throwIfAborted();
    } finally {
      context.signal.removeEventListener('abort', gone);
      remove();
      leave();
      reader?.close();
    }
  }

  private async *events(
    reader: ContainerProcess,
    { found, everyMs, after }: { readonly found: FoundProcess; readonly everyMs: number; readonly after: number },
  ): Events {
    const hasTerminal = found.found?.state.hasTerminal === true;
    let next = after;
    for await (const piece of withPauses(reader.output, everyMs)) {
      if (piece === null) {
        yield { case: 'keepalive', value: {} };
        continue;
      }
      const { stream, data, offset = next } = piece;
      // The sandbox keeps a mebibyte for those who read slowly.
      if (offset > next) throw new ConnectError('output was lost, because the client reads too slowly', Code.DataLoss);
      next = offset + data.length;
      yield { case: 'data', value: { output: { case: hasTerminal ? 'pty' : stream, value: data } } };
    }
    const how = await endOf(reader);
    if (how.kind === 'container_ended') throw new DomainError('container_not_running');
    if (how.kind === 'lost') throw new DomainError('shutting_down');
    await this.processes.noteEnd(found.row, { reason: 'exited', exitCode: how.code });
    yield { case: 'end', value: endEvent(how.exit) };
  }
}

/** The messages of Start and Connect, which differ only by name. */
async function* responses(events: Events): AsyncGenerator<{ event: ProcessEvent }> {
  for await (const event of events) yield { event: create(ProcessEventSchema, { event }) };
}

const SIGNAL_WORDS: Readonly<Record<number, string>> = { 1: 'hangup', 2: 'interrupt', 9: 'killed', 15: 'terminated' };

/** As Go describes the end of a process, whose words E2B's clients read. A signal's exit code is -1. */
function endEvent({ exitCode, signal }: ProgramExit) {
  if (signal === undefined) {
    const status = `exit status ${String(exitCode)}`;
    return { exitCode, exited: true, status, ...(exitCode !== 0 && { error: status }) };
  }
  const status = `signal: ${SIGNAL_WORDS[signal] ?? String(signal)}`;
  return { exitCode: -1, exited: false, status, error: status };
}

/** @throws DomainError `invalid_parameters` */
function commandOf(call: EnvdCall, process: ProcessConfig | undefined) {
  if (!process || process.cmd === '') throw refused('process.cmd', 'must be given');
  const { cmd, args, envs, cwd } = process;
  const command = [cmd, ...args];
  assertTexts('process.args', command);
  assertTexts('process.envs', Object.entries(envs).flat());
  if (Object.keys(envs).some((name) => !/^[^=]+$/.test(name))) {
    throw refused('process.envs', 'must have names without "=" that are not empty');
  }
  return { command, env: envs, cwd: cwd === undefined ? undefined : pathIn(call, cwd, 'process.cwd').text };
}

function assertTexts(field: string, texts: readonly string[]): void {
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  if (texts.length > MOST_PARTS || bytes > MOST_COMMAND_BYTES) {
    throw refused(field, `must have at most ${String(MOST_PARTS)} texts, and ${String(MOST_COMMAND_BYTES)} bytes`);
  }
  if (texts.some((text) => text.includes('\0'))) throw refused(field, 'must not contain NUL');
}

function tagOf(tag: string | undefined): string | undefined {
  if (tag !== undefined && (tag === '' || Buffer.byteLength(JSON.stringify(tag)) - 2 > MOST_TAG_BYTES)) {
    throw refused('tag', `must have 1 to ${String(MOST_TAG_BYTES)} bytes`);
  }
  return tag;
}

function sizeOf({ size }: PTY): TerminalSize {
  const { cols = 0, rows = 0 } = size ?? {};
  const isValid = [cols, rows].every((each) => each >= 1 && each <= LARGEST_SIZE);
  if (!isValid) throw refused('pty.size', `must have 1 to ${String(LARGEST_SIZE)} columns and rows`);
  return { columns: cols, rows };
}

function refused(field: FieldFault['field'], message: string): DomainError {
  return invalidParameters([{ field, message }]);
}
