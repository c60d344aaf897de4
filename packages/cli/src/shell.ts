import { constants } from 'node:os';
import { isBerthError, type Terminal, type TerminalOptions, type TerminalProgram } from '@berth/client';
import { CliError, NOT_RUN, notRun, USAGE } from './exit.ts';
import { inWords, printable } from './output.ts';
import { findId, Interrupted, type Session, wholeId } from './session.ts';

export interface ShellOptions {
  readonly attach?: string | true;
  readonly watch?: boolean;
}

/** Ctrl-], as in telnet. */
const DETACH = 0x1d;
/** How long keys wait for a server that does not answer. */
const DROP_INPUT_AFTER_MS = 5000;

/**
 * Connects this terminal to one in the container: forwards keys and size. After a broken connection, it reconnects to
 * the same shell.
 */
export async function openShell(session: Session, name: string, { attach, watch }: ShellOptions): Promise<void> {
  const id = await findId(session, name);
  const attached = attach === undefined ? undefined : await openTerminal(session, id, attach);
  using terminal = session.berth.terminal(id, {
    ...localTerminal(),
    takeover: watch !== true,
    ...(attached !== undefined && { session: attached, after: 0 }),
    onRole: (role) => {
      if (role === 'watcher') noteInTerminal('read-only: another client has the input');
    },
  });
  await opened(terminal, session.signal);
  // A terminal in raw mode sends Ctrl-C as a key instead.
  session.signal.addEventListener('abort', () => terminal.detach());
  const release = holdTerminal(terminal, { isTyped: true, detachKey: DETACH });
  try {
    const { code, reason, detail } = await terminal.ended;
    process.exitCode = reason === 'exited' ? (code ?? NOT_RUN) : reason === 'detached' ? 0 : NOT_RUN;
    release();
    if (reason === 'detached')
      noteInTerminal(`detached. Attach again with: berth sh ${name} --attach ${terminal.id ?? ''}`);
    else if (reason !== 'exited') noteInTerminal([inWords(reason), detail].filter(Boolean).join(': '));
  } catch (error) {
    process.exitCode = NOT_RUN;
    throw error;
  } finally {
    release();
  }
}

/**
 * Runs a program in a terminal of its own, connected to this one, and ends with its exit code. Unlike a shell, the
 * program is ended with this process.
 *
 * @param isTyped forwards keys
 */
export async function runInTerminal(
  { berth, signal }: Session,
  { id, program, isTyped }: { readonly id: string; readonly program: TerminalProgram; readonly isTyped: boolean },
): Promise<void> {
  if (isTyped && !process.stdin.isTTY) {
    throw new CliError('standard input is not a terminal. Omit -t', USAGE);
  }
  using terminal = berth.terminal(id, { ...localTerminal(), program, takeover: true });
  const giveUp = (): void => terminal.detach();
  signal.addEventListener('abort', giveUp);
  await opened(terminal, signal);
  signal.removeEventListener('abort', giveUp);
  const end = async (): Promise<void> => {
    if (terminal.id !== undefined) await berth.terminals.end(id, terminal.id).catch(() => undefined);
  };
  const release = holdTerminal(terminal, { isTyped, onSignal: end });
  // Without keys, Ctrl-C arrives here. The program's terminal ends, and with it this wait.
  signal.addEventListener('abort', () => void end());
  try {
    const { code, reason, detail } = await terminal.ended;
    release();
    if (signal.aborted) throw new Interrupted('interrupted');
    process.exitCode = reason === 'exited' ? (code ?? NOT_RUN) : NOT_RUN;
    if (reason !== 'exited') noteInTerminal([inWords(reason), detail].filter(Boolean).join(': '));
  } catch (error) {
    if (!(error instanceof Interrupted)) process.exitCode = NOT_RUN;
    throw error;
  } finally {
    release();
  }
}

/** Options for a remote terminal that is shown in this one. */
function localTerminal(): Omit<TerminalOptions, 'session'> {
  const { stdin, stdout } = process;
  return {
    cols: stdout.columns || 80,
    rows: stdout.rows || 24,
    // Slows the program down to the speed of this terminal.
    onOutput: (bytes: Uint8Array) => new Promise<void>((resolve) => stdout.write(bytes, () => resolve())),
    onInterrupted: () => noteInTerminal('connection lost, reconnecting'),
    // Blindly typed input must not run minutes later; input from a pipe is never dropped.
    ...(stdin.isTTY && { dropInputAfterMs: DROP_INPUT_AFTER_MS }),
  };
}

async function opened(terminal: Terminal, signal: AbortSignal): Promise<void> {
  try {
    await terminal.opened;
  } catch (error) {
    signal.throwIfAborted();
    process.exitCode = notRun(error);
    throw error;
  }
}

/** Writes a message on its own line, even after an unfinished one, and in raw mode. */
function noteInTerminal(text: string): void {
  process.stderr.write(`\r\n[${printable(text)}]\r\n`);
}

/** Signals that end this process, and must not leave the terminal in raw mode. */
const ENDING = ['SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

interface HoldOptions {
  /** Whether keys are forwarded. */
  readonly isTyped: boolean;
  /** The byte that detaches, in place of being forwarded. */
  readonly detachKey?: number;
  /** Called before a signal ends this process. */
  readonly onSignal?: () => Promise<void>;
}

/**
 * Forwards keys and sizes to the remote terminal.
 *
 * @returns a function that restores this one; may be called repeatedly
 */
function holdTerminal(terminal: Terminal, { isTyped, detachKey, onSignal }: HoldOptions): () => void {
  const { stdin, stdout } = process;
  const isRaw = isTyped && stdin.isTTY;
  let isDropping = false;
  const onData = (data: Buffer): void => {
    const end = isRaw && detachKey !== undefined ? data.indexOf(detachKey) : -1;
    // Refused input of a watcher is ignored; `ended` reports the end of the shell.
    terminal.write(end < 0 ? data : data.subarray(0, end)).then(
      () => (isDropping = false),
      (error: unknown) => {
        if (isDropping || !isBerthError(error, 'connection_failed')) return;
        isDropping = true;
        noteInTerminal('the server does not respond: input is dropped');
      },
    );
    if (end >= 0) terminal.detach();
  };
  const onResize = (): void => terminal.resize(stdout.columns, stdout.rows);
  // Sends Ctrl-D at the end of a pipe; at a terminal, the user types it.
  const onEnd = (): void => void terminal.write('\u0004').catch(() => undefined);
  // A shell that stopped this process has reset the terminal.
  const onContinue = (): void => {
    if (isRaw) stdin.setRawMode(true);
    onResize();
  };
  const onExit = (): void => {
    if (isRaw) stdin.setRawMode(false);
  };
  const onEnding = (signal: NodeJS.Signals): void => {
    release();
    const exit = (): never => process.exit(128 + constants.signals[signal]);
    void (onSignal?.() ?? Promise.resolve()).finally(exit);
  };
  if (isRaw) stdin.setRawMode(true);
  if (isTyped) stdin.on('data', onData).on('end', onEnd).resume();
  stdout.on('resize', onResize);
  process.on('SIGCONT', onContinue).on('exit', onExit);
  for (const signal of ENDING) process.once(signal, onEnding);
  const release = (): void => {
    if (isRaw) stdin.setRawMode(false);
    if (isTyped) stdin.off('data', onData).off('end', onEnd).pause();
    stdout.off('resize', onResize);
    process.off('SIGCONT', onContinue).off('exit', onExit);
    for (const signal of ENDING) process.off(signal, onEnding);
  };
  return release;
}

/** @param wanted the id of an open terminal, or its beginning; true: the only one */
async function openTerminal({ berth, signal }: Session, id: string, wanted: string | true): Promise<string> {
  const open = await berth.terminals.list(id, { signal });
  if (wanted !== true) return wholeId(wanted, open);
  const [first] = open;
  if (first && open.length === 1) return first.id;
  if (!first) throw new CliError('no terminal is open there. Omit --attach to open one', 4);
  const ids = open.map((each) => `  ${each.id}  since ${each.started_at}`);
  throw new CliError('several terminals are open. Choose one with --attach:', 4, ids);
}
