import { isBerthError, type Terminal } from '@berth/client';
import { CliError, NOT_RUN } from './exit.ts';
import { printable } from './output.ts';
import { findId, type Session } from './session.ts';

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
  const attached = attach === true ? await onlySession(session, id) : attach;
  const { stdout } = process;
  using terminal = session.berth.terminal(id, {
    cols: stdout.columns || 80,
    rows: stdout.rows || 24,
    takeover: watch !== true,
    ...(attached !== undefined && { session: attached, after: 0 }),
    // Slows the program down to the speed of this terminal.
    onOutput: (bytes) => new Promise((resolve) => stdout.write(bytes, () => resolve())),
    onInterrupted: () => noteInTerminal('the connection broke, trying again'),
    // Blindly typed input must not run minutes later; input from a pipe is never dropped.
    ...(process.stdin.isTTY && { dropInputAfterMs: DROP_INPUT_AFTER_MS }),
    onRole: (role) => {
      if (role === 'watcher') noteInTerminal('another client writes');
    },
  });
  try {
    await terminal.opened;
  } catch (error) {
    process.exitCode = NOT_RUN;
    throw error;
  }
  // A terminal in raw mode sends Ctrl-C as a key instead.
  session.signal.addEventListener('abort', () => terminal.detach());
  const release = holdTerminal(terminal);
  try {
    const { code, reason, detail } = await terminal.ended;
    process.exitCode = reason === 'exited' ? (code ?? NOT_RUN) : reason === 'detached' ? 0 : NOT_RUN;
    release();
    if (reason === 'detached') noteInTerminal(`left open: berth sh ${name} --attach ${terminal.id ?? ''}`);
    else if (reason !== 'exited') noteInTerminal([reason, detail].filter(Boolean).join(': '));
  } catch (error) {
    process.exitCode = NOT_RUN;
    throw error;
  } finally {
    release();
  }
}

/** Writes a message on its own line, even after an unfinished one, and in raw mode. */
function noteInTerminal(text: string): void {
  process.stderr.write(`\r\n[${printable(text)}]\r\n`);
}

/**
 * Forwards keys and sizes to the remote terminal.
 *
 * @returns a function that restores this one; may be called repeatedly
 */
function holdTerminal(terminal: Terminal): () => void {
  const { stdin, stdout } = process;
  let isDropping = false;
  const onData = (data: Buffer): void => {
    const end = stdin.isTTY ? data.indexOf(DETACH) : -1;
    // Refused input of a watcher is ignored; `ended` reports the end of the shell.
    terminal.write(end < 0 ? data : data.subarray(0, end)).then(
      () => (isDropping = false),
      (error: unknown) => {
        if (isDropping || !isBerthError(error, 'connection_failed')) return;
        isDropping = true;
        noteInTerminal('the server does not answer: what you type is dropped');
      },
    );
    if (end >= 0) terminal.detach();
  };
  const onResize = (): void => terminal.resize(stdout.columns, stdout.rows);
  // Sends Ctrl-D at the end of a pipe; at a terminal, the user types it.
  const onEnd = (): void => void terminal.write('\u0004').catch(() => undefined);
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on('data', onData).on('end', onEnd).resume();
  stdout.on('resize', onResize);
  return () => {
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.off('data', onData).off('end', onEnd).pause();
    stdout.off('resize', onResize);
  };
}

async function onlySession({ berth, signal }: Session, id: string): Promise<string> {
  const open = await berth.terminals.list(id, { signal });
  const [first] = open;
  if (first && open.length === 1) return first.id;
  if (!first) throw new CliError('no terminal is open there', 4);
  const ids = open.map((each) => `  ${each.id}  since ${each.started_at}`);
  throw new CliError('several are open, name one:', 4, ids);
}
