import { isBerthError, type Terminal } from '@berth/client';
import { CliError, NOT_RUN } from './exit.ts';
import { printable } from './output.ts';
import { findId, type Session } from './session.ts';

export interface ShellOptions {
  readonly attach?: string | true;
  readonly watch?: boolean;
}

/** Ctrl-], as telnet has it. */
const DETACH = 0x1d;
/** How long keys wait for a server that does not answer. */
const DROP_INPUT_AFTER_MS = 5000;

/**
 * A terminal in this one: every key goes there, and the size with it. Where the connection breaks it is made again, and
 * the shell is the same.
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
    // Held up as long as this terminal is.
    onOutput: (bytes) => new Promise((resolve) => stdout.write(bytes, () => resolve())),
    onInterrupted: () => noteInTerminal('the connection broke, trying again'),
    // What somebody types blindly must not run minutes later; what comes from a pipe is all wanted.
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
  // A real terminal sends Ctrl-C as a key.
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

/** On a line of its own, whatever the shell wrote last, and whether the terminal is raw or not. */
function noteInTerminal(text: string): void {
  process.stderr.write(`\r\n[${printable(text)}]\r\n`);
}

/** Keys and sizes go to that terminal. @returns what makes this one as it was; more than once is as once */
function holdTerminal(terminal: Terminal): () => void {
  const { stdin, stdout } = process;
  let isDropping = false;
  const onData = (data: Buffer): void => {
    const end = stdin.isTTY ? data.indexOf(DETACH) : -1;
    // Refused where only looking on is allowed; the shell's end is told by `ended`.
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
  // What is typed at the end of a pipe; a terminal sends its own.
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
