import { randomUUID } from 'node:crypto';
import type { Writable } from 'node:stream';
import { z } from 'zod';
import { EngineError } from '../port/engine-error';
import type {
  ContainerProcess,
  ExecOutput,
  ExecRequest,
  ListedProgram,
  ProcessRequest,
  ProgramAttachment,
  ProgramExit,
  ProgramSignal,
  ProgramTree,
  TerminalSize,
} from '../port/container-process';
import type { EnginePrograms } from '../port/engine-programs';
import type { SupervisorRequest } from './channel';
import { ANY_ANSWER, type ChannelStream, type Shape } from './channel-stream';
import type { SandboxChannels } from './sandbox-channels';
import { runProgram } from '../programs/run-program';

/** An exit code of a program that a signal ended, as shells have it: 128 and the signal. */
const BY_SIGNAL = 128;

const offset = z.int().min(0);
const time = z.int().min(0).max(253_402_300_800_000);
const pid = z.int().min(1).max(0x7fff_ffff);
const id = z.string().regex(/^[\w-]{1,64}$/);
const exit = z.union([z.object({ code: z.int().min(0).max(255) }), z.object({ signal: z.int().min(1).max(64) })]);

const started = z.object({ pid, started: time });
const attached = z.object({ pid, started: time, from: offset, to: offset });
const end = z.object({ exit: exit.nullable(), offset, ended: time.optional(), stopped: z.boolean().optional() });
const listed = z.object({
  id,
  owner: z.string().max(4096),
  argv0: z.string().max(256 * 1024),
  pid,
  started: time,
  kept: z.boolean(),
  tty: z.boolean(),
  from: offset,
  to: offset,
  readers: z.int().min(0).max(10_000),
  exit: exit.nullable(),
  ended: time.optional(),
});
const sent = z.object({ sent: z.int().min(0) });
const outcome = z.object({ outcome: z.enum(['ended', 'still_running']) });
const names = z.object({ names: z.array(z.string().max(4096)).max(16) });

/** More than a supervisor has. */
const MOST_PROGRAMS = 1024;
/** Characters of a program's name that are passed on. */
const MOST_NAME = 255;

/** What a channel's owner knows of containers' ends. */
interface ContainerEnds {
  /** Whether a stop, a removal or a signal is ending the container. */
  isEnding(engineId: string): boolean;
}

/** The programs in containers, by their supervisors. The methods of {@link EnginePrograms} are documented there. */
export class ChannelPrograms implements EnginePrograms {
  constructor(
    private readonly channels: SandboxChannels,
    private readonly ends: ContainerEnds,
  ) {}

  run(engineId: string, request: ExecRequest): Promise<ProgramExit> {
    return runProgram(this, engineId, request);
  }

  async start(engineId: string, request: ProcessRequest): Promise<ContainerProcess> {
    const { command, env, user, cwd, terminal, kept, owner, ring, timeoutMs } = request;
    if (command[0] === '' || command.length === 0) {
      throw new EngineError('command_not_started', 'the program has no name');
    }
    const programId = request.id ?? randomUUID();
    const hasInput = request.stdin === true || terminal !== undefined;
    const stream = await this.channels.open(
      engineId,
      {
        op: 'start',
        id: programId,
        argv: command,
        // A field that is undefined is left out.
        env,
        user,
        cwd,
        tty: terminal,
        stdin: hasInput,
        kept,
        owner,
        ring,
        timeout_ms: timeoutMs,
      },
      { input: hasInput },
    );
    const facts = await stream.message(started);
    return this.program(engineId, stream, { id: programId, hasInput, from: 0, to: 0, ...facts });
  }

  async attach(engineId: string, { id: programId, after, input, watch }: ProgramAttachment): Promise<ContainerProcess> {
    const hasInput = input === true;
    const request = { op: 'attach', id: programId, after, input: hasInput, watch };
    const stream = await this.channels.open(engineId, request, { input: hasInput });
    const facts = await stream.message(attached).catch((error: unknown) => {
      const isBeyond = error instanceof EngineError && error.message.startsWith('invalid_request');
      throw isBeyond ? new EngineError('invalid_parameters', error.message, { cause: error }) : error;
    });
    return this.program(engineId, stream, { id: programId, hasInput, ...facts });
  }

  async list(engineId: string): Promise<ListedProgram[]> {
    const stream = await this.channels.open(engineId, { op: 'programs' });
    const found: ListedProgram[] = [];
    for await (const rows of stream.rows(listed, MOST_PROGRAMS)) {
      for (const { argv0, started: startedAt, kept: isKept, tty: hasTerminal, exit: how, ended, ...row } of rows) {
        const exited = how === null ? null : exitOf({ exit: how, offset: row.to, ended });
        found.push({ ...row, program: argv0.slice(-MOST_NAME), startedAt, isKept, hasTerminal, exit: exited });
      }
    }
    return found;
  }

  async forget(engineId: string, programId: string): Promise<void> {
    try {
      await this.ask(engineId, { op: 'forget', id: programId }, ANY_ANSWER);
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== 'program_not_found') throw error;
    }
  }

  async prepare(engineId: string): Promise<void> {
    await this.channels.of(engineId);
  }

  async end(engineId: string, program: ProgramSignal & { graceMs: number }): Promise<'ended' | 'still_running'> {
    const { id: programId, signal, user, graceMs } = program;
    const request = { op: 'end', id: programId, signal, user, grace_ms: Math.ceil(graceMs) };
    return (await this.ask(engineId, request, outcome)).outcome;
  }

  async signal(engineId: string, { id: programId, signal, user }: ProgramSignal): Promise<'sent' | 'none'> {
    const result = await this.ask(engineId, { op: 'signal', id: programId, signal, user }, sent);
    return result.sent > 0 ? 'sent' : 'none';
  }

  async descendants(engineId: string, { id: programId, user }: ProgramTree): Promise<readonly string[]> {
    return (await this.ask(engineId, { op: 'descendants', id: programId, user }, names)).names;
  }

  private async ask<T>(engineId: string, request: SupervisorRequest, result: Shape<T>): Promise<T> {
    return (await this.channels.open(engineId, request)).done(result);
  }

  private program(engineId: string, stream: ChannelStream, facts: ProgramFacts): ContainerProcess {
    return new ChannelProcess(stream, facts, {
      isEnding: () => this.ends.isEnding(engineId),
      resize: async ({ columns, rows }) => {
        await this.ask(engineId, { op: 'resize', id: facts.id, columns, rows }, ANY_ANSWER);
      },
    });
  }
}

interface ProgramFacts {
  readonly id: string;
  readonly pid: number;
  readonly started: number;
  readonly from: number;
  readonly to: number;
  readonly hasInput: boolean;
}

/** One reader of a program: a stream of `start` or `attach`. */
class ChannelProcess implements ContainerProcess {
  readonly id: string;
  readonly pid: number;
  readonly startedAt: number;
  readonly from: number;
  readonly to: number;
  readonly output: AsyncIterable<ExecOutput>;
  readonly stdin: Writable | null;
  private readonly result: Promise<z.infer<typeof end>>;
  /** Whether the container was ending when the program ended. */
  private isWithContainer = false;

  constructor(
    private readonly stream: ChannelStream,
    facts: ProgramFacts,
    private readonly calls: { isEnding(): boolean; resize(size: TerminalSize): Promise<void> },
  ) {
    this.id = facts.id;
    this.pid = facts.pid;
    this.startedAt = facts.started;
    this.from = facts.from;
    this.to = facts.to;
    this.stdin = facts.hasInput ? stream.writable() : null;
    this.result = stream.done(end);
    this.result.catch(() => undefined);
    // Without a listener, an error while nobody writes would end this process.
    this.stdin?.on('error', () => undefined);
    void this.result.then(
      ({ stopped }) => {
        this.isWithContainer = stopped === true || calls.isEnding();
        this.stdin?.destroy();
      },
      () => this.stdin?.destroy(),
    );
    this.output = this.read();
  }

  resize(size: TerminalSize): Promise<void> {
    return this.calls.resize(size);
  }

  async exit(): Promise<ProgramExit> {
    const how = exitOf(await this.result);
    if (how === null) throw new EngineError('container_not_responding', 'a program ended without an end');
    // The end of a container first ends its programs: the end of the channel follows.
    if (how.signal !== undefined && this.isWithContainer) {
      throw new EngineError('container_not_running', 'the container ended under the program');
    }
    return how;
  }

  close(): void {
    this.stream.cancel();
  }

  private async *read(): AsyncGenerator<ExecOutput, void> {
    for await (const { kind, data, offset: at, time: when } of this.stream.chunks()) {
      yield { stream: kind === 'stderr' ? 'stderr' : 'stdout', data, offset: at, time: when };
    }
  }
}

function exitOf({ exit: how, offset: bytes, ended }: z.infer<typeof end>): ProgramExit | null {
  if (how === null) return null;
  const facts = { bytes, ...(ended !== undefined && { endedAt: ended }) };
  if ('code' in how) return { exitCode: how.code, ...facts };
  return { exitCode: BY_SIGNAL + how.signal, signal: how.signal, ...facts };
}
