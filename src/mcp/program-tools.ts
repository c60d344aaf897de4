import { Injectable } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { OpenConnections, type Principal } from '../auth';
import { CODE_TIMEOUT_MS, CodeCollector, CodeRunner } from '../code';
import { ContainersService } from '../containers';
import { DomainError } from '../errors';
import { createValidationPipe } from '../http';
import {
  BackgroundProcesses,
  COMMAND_TIMEOUT_MS,
  Commands,
  type FoundProcess,
  ProcessAnswers,
  processView,
  RunCommandDto,
} from '../sandbox';
import { ANSWER_CHARS, beginningOf, jsonLength, OutputEnds, roomFor } from './answer-bounds';
import { defineTool, SANDBOX, type Tool, type ToolCall } from './tool';

const SHELL = '/bin/sh';

/** How often a process that is waited for is looked at. */
const LOOK_MS = 500;
const MOST_WAIT_SECONDS = 45;

/** Processes that a list shows: as many as run at once, and those that ended lately. */
const MOST_LISTED = 50;

const MOST_COMMAND = 60_000;

/** The fewest bytes that a page of output may have. */
const LEAST_PAGE = 16;

export const MAX_CHARS = z
  .int()
  .min(ANSWER_CHARS.min)
  .max(ANSWER_CHARS.max)
  .default(ANSWER_CHARS.usual)
  .describe('Size of the answer');

/** In bytes; no file and no output is longer. */
export const OFFSET = z
  .int()
  .min(0)
  .max(2 ** 40)
  .default(0);

const PROGRAM = {
  sandbox: SANDBOX,
  command: z.string().min(1).max(MOST_COMMAND).describe('Line for sh -c'),
  cwd: z.string().optional(),
  env: z.record(z.string(), z.string()).optional(),
  user: z.string().optional().describe('Such as root'),
};

const PROCESS_VIEW = z.object({
  id: z.string(),
  command: z.string(),
  status: z.string(),
  exit_code: z.number().nullable(),
  output_bytes: z.number().nullable(),
});

const CODE_ANSWER = {
  text: z.string(),
  stdout: z.string(),
  stderr: z.string(),
  error: z.string().optional(),
  note: z.string().optional(),
};

const pipe = createValidationPipe();

/** Tools for commands, which a call waits for, and processes, which go on. */
@Injectable()
export class ProgramTools {
  constructor(
    private readonly containers: ContainersService,
    private readonly commands: Commands,
    private readonly processes: BackgroundProcesses,
    private readonly answers: ProcessAnswers,
    private readonly connections: OpenConnections,
    private readonly code: CodeRunner,
  ) {}

  readonly tools: readonly Tool[] = [
    defineTool({
      name: 'command_run',
      title: 'Run a command',
      description:
        'Run a shell command and wait for its end. Of long output, the beginning and the end are returned; to see ' +
        'all, redirect it to a file and use file_read. For servers and long work use process_start.',
      annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false },
      input: {
        ...PROGRAM,
        stdin: z.string().optional(),
        timeout_ms: z.int().min(1).max(COMMAND_TIMEOUT_MS.max).default(45_000),
        max_chars: MAX_CHARS,
      },
      output: {
        exit_code: z.number().nullable(),
        stdout: z.string(),
        stderr: z.string(),
        timed_out: z.boolean(),
        note: z.string().optional(),
      },
      scopeOf: () => 'exec',
      auditOf: () => ({ action: 'container.exec' }),
      run: (args, call) => this.runCommand(args, call),
    }),
    defineTool({
      name: 'run_code',
      title: 'Run code',
      description:
        'Run code in a kernel that keeps its variables between calls, in a sandbox of the image code. numpy, pandas ' +
        'and matplotlib are there. The value of the last line is in text. Save pictures to files.',
      annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false },
      input: {
        sandbox: SANDBOX,
        code: z.string().min(1).max(MOST_COMMAND),
        language: z.enum(['python', 'javascript', 'bash']).default('python'),
        restart: z.boolean().default(false).describe('Begin with no variables'),
        timeout_ms: z.int().min(1).max(CODE_TIMEOUT_MS.max).default(45_000),
        max_chars: MAX_CHARS,
      },
      output: CODE_ANSWER,
      scopeOf: () => 'exec',
      auditOf: () => ({ action: 'container.exec' }),
      run: (args, call) => this.runCode(args, call),
    }),
    defineTool({
      name: 'process_start',
      title: 'Start a process',
      description: 'Start a shell command in the background. It outlives this call. Read it with process_output.',
      annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false },
      input: PROGRAM,
      output: { process: z.string(), status: z.string() },
      scopeOf: () => 'exec',
      auditOf: () => ({ action: 'process.start' }),
      run: async ({ sandbox, ...program }, { caller }) => {
        const { command, cwd, env, user } = await requestOf(program);
        const { id } = await this.containers.findNamed(caller, sandbox);
        const found = await this.processes.start(caller, id, { command, cwd, env, user, terminal: false });
        return { process: found.row.id, status: processView(found).status };
      },
    }),
    defineTool({
      name: 'process_output',
      title: 'Read the output of a process',
      description:
        'Read stdout and stderr of a process from a byte offset. Pass next as the offset of the next call. The last ' +
        'MiB is kept; gap: some was lost. Without process: list the processes.',
      annotations: { readOnlyHint: true },
      input: {
        sandbox: SANDBOX,
        process: z.string().max(64).optional(),
        offset: OFFSET,
        wait_seconds: z
          .int()
          .min(0)
          .max(MOST_WAIT_SECONDS)
          .default(0)
          .describe('Wait this long for output beyond the offset, or the end'),
        max_chars: MAX_CHARS,
      },
      output: {
        output: z.string().optional(),
        next: z.number().optional(),
        gap: z.boolean().optional(),
        status: z.string().optional(),
        exit_code: z.number().nullish(),
        processes: z.array(PROCESS_VIEW).optional(),
      },
      scopeOf: () => 'exec',
      auditOf: ({ process }) => ({ action: process === undefined ? 'process.list' : 'process.read', isLook: true }),
      run: async ({ sandbox, process, ...asked }, call) => {
        const { id } = await this.containers.findNamed(call.caller, sandbox);
        if (process !== undefined) return this.output(call, { id, process, ...asked });
        const all = await this.processes.list(call.caller, id);
        return { processes: all.slice(-MOST_LISTED).map(shown) };
      },
    }),
    defineTool({
      name: 'process_stop',
      title: 'Stop a process',
      description: 'Terminate a process and all that it started. Its output stays readable for some minutes.',
      annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: true },
      input: { sandbox: SANDBOX, process: z.string().max(64) },
      output: { process: z.string(), status: z.string(), exit_code: z.number().nullable() },
      scopeOf: () => 'exec',
      auditOf: () => ({ action: 'process.end' }),
      run: async ({ sandbox, process }, { caller }) => {
        const { id } = await this.containers.findNamed(caller, sandbox);
        const found = await this.processes.find(caller, id, process);
        // Ending a process that has ended would remove its output.
        if (found.row.endedAt === null) await this.processes.end(caller, id, process);
        const ended = processView(await this.processes.find(caller, id, process));
        return { process, status: ended.status, exit_code: ended.exit_code };
      },
    }),
  ];

  private async runCommand(
    { sandbox, max_chars: most, ...program }: Program & { sandbox: string; max_chars: number },
    call: ToolCall,
  ) {
    const { timeout_ms: timeoutMs = COMMAND_TIMEOUT_MS.usual, ...request } = await requestOf(program);
    const { id } = await this.containers.findNamed(call.caller, sandbox);
    const ends = { stdout: new OutputEnds(most), stderr: new OutputEnds(most) };
    const end = await this.whileAllowed(call, (signal) =>
      this.commands.run(
        call.caller,
        id,
        { ...request, timeoutMs, maxOutputBytes: Infinity },
        { signal, onOutput: ({ stream, data }) => ends[stream].take(data) },
      ),
    );
    const room = roomFor(most);
    // What one of the outputs does not need, the other may have.
    const stderr = ends.stderr.text(Math.max(room / 2, room - jsonLength(ends.stdout.text(room).text)));
    const stdout = ends.stdout.text(room - jsonLength(stderr.text));
    const leftOut = stdout.leftOut + stderr.leftOut;
    const notes = [
      ...(leftOut > 0
        ? [`${String(leftOut)} bytes are left out. For all, redirect to a file and read it with file_read.`]
        : []),
      ...(end.timedOut ? ['Terminated by timeout_ms. Use process_start for long work.'] : []),
    ];
    return {
      exit_code: end.exitCode,
      stdout: stdout.text,
      stderr: stderr.text,
      timed_out: end.timedOut,
      ...(notes.length > 0 && { note: notes.join(' ') }),
    };
  }

  private async runCode(
    { sandbox, max_chars: most, ...code }: CodeCall,
    call: ToolCall,
  ): Promise<z.output<z.ZodObject<typeof CODE_ANSWER>>> {
    const { id } = await this.containers.findNamed(call.caller, sandbox);
    const seen = new CodeCollector();
    await this.whileAllowed(call, (signal) =>
      this.code.run(call.caller, id, code, {
        signal,
        onLine: (line, next) => {
          seen.take(line, next);
          return true;
        },
      }),
    );
    const { stdout, stderr, exception, results, interrupted, restarted, truncated } = seen.whole;
    const shown = results.map(({ formats: { text, ...others } }) =>
      [
        ...(typeof text === 'string' ? [text] : []),
        ...(Object.keys(others).length > 0 ? [formatsOf(others)] : []),
      ].join(' '),
    );
    const error = exception && (exception.traceback || `${exception.name}: ${exception.value}`);
    // An error comes first, then the value, then what was written.
    let room = roomFor(most);
    let isCut = truncated;
    const fit = (text: string): string => {
      const part = beginningOf(text, room);
      room -= jsonLength(part);
      isCut ||= part.length < text.length;
      return part;
    };
    const notes = (): string[] => [
      ...(isCut ? ['Output was left out. Write long output to a file and read it with file_read.'] : []),
      ...(interrupted === null ? [] : [`The code was interrupted: ${interrupted}.`]),
      ...(restarted ? ['The kernel was restarted: its variables are gone.'] : []),
    ];
    const fitted = {
      ...(error !== null && { error: fit(error) }),
      text: fit(shown.join('\n')),
      stderr: fit(stderr),
      stdout: fit(stdout),
    };
    return { ...fitted, ...(notes().length > 0 && { note: notes().join(' ') }) };
  }

  /** Gives `work` a signal that aborts when the client has gone, or may no longer be inside. */
  private async whileAllowed<T>(
    { caller, signal: gone }: ToolCall,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    // This error only reaches the audit: the client that would read it is gone.
    const reason = (): DomainError => new DomainError('request_timeout', { code: 'client_gone' });
    const { signal, leave } = this.connections.accessOf(caller, { gone, reason });
    try {
      return await work(signal);
    } finally {
      leave();
    }
  }

  private async output(call: ToolCall, asked: OutputQuery) {
    const { offset } = asked;
    const found = await this.whileAllowed(call, (signal) => this.untilWritten(call.caller, asked, signal));
    const room = roomFor(asked.max_chars);
    const { status, exit_code: exitCode } = processView(found);
    for (let limit = room; ; limit = Math.max(LEAST_PAGE, Math.floor(limit / 2))) {
      const { output, next, gap } = await this.answers.page(found, { after: offset, limit, encoding: 'utf-8' });
      const text = output.map(({ data }) => data).join('');
      // Control characters need up to six characters in JSON.
      if (jsonLength(text) <= room || limit === LEAST_PAGE) {
        return { output: text, next, gap, status, exit_code: exitCode };
      }
    }
  }

  /** Finds a process; if it waits, once it has written beyond the offset, has ended, or the wait is over. */
  private async untilWritten(caller: Principal, asked: OutputQuery, signal: AbortSignal): Promise<FoundProcess> {
    const until = performance.now() + asked.wait_seconds * 1_000;
    for (;;) {
      const found = await this.processes.find(caller, asked.id, asked.process);
      const isOver = found.row.endedAt !== null || performance.now() >= until || this.processes.isClosing;
      if (isOver || (found.found?.state.to ?? 0) > asked.offset) return found;
      await delay(LOOK_MS, undefined, { signal }).catch(() => undefined);
      signal.throwIfAborted();
    }
  }
}

/** A program's arguments. */
interface Program {
  readonly command: string;
  readonly cwd?: string | undefined;
  readonly env?: Record<string, string> | undefined;
  readonly user?: string | undefined;
  readonly stdin?: string | undefined;
  readonly timeout_ms?: number | undefined;
}

interface CodeCall {
  readonly sandbox: string;
  readonly code: string;
  readonly language: string;
  readonly restart: boolean;
  readonly timeout_ms: number;
  readonly max_chars: number;
}

/** Such as `[png]`. */
function formatsOf(formats: Readonly<Record<string, unknown>>): string {
  return `[${Object.keys(formats).slice(0, 8).join(', ')}]`;
}

interface OutputQuery {
  readonly id: string;
  readonly process: string;
  readonly offset: number;
  readonly wait_seconds: number;
  readonly max_chars: number;
}

/** Applies the same rules as the route. @throws DomainError `invalid_parameters` */
async function requestOf({ command, ...rest }: Program): Promise<RunCommandDto> {
  const body = { command: [SHELL, '-c', command], ...rest };
  const given = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
  return (await pipe.transform(given, { type: 'body', metatype: RunCommandDto })) as RunCommandDto;
}

function shown(found: FoundProcess): z.output<typeof PROCESS_VIEW> {
  const { id, program, command, status, exit_code: exitCode, output_bytes: bytes } = processView(found);
  const isShell = command?.[0] === SHELL && command[1] === '-c';
  const line = command === null ? program : isShell ? (command[2] ?? '') : command.join(' ');
  return { id, command: beginningOf(line, 200), status, exit_code: exitCode, output_bytes: bytes };
}
