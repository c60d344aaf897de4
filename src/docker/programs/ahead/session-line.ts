/**
 * The protocol of a session that is opened ahead of its program: the shell script that waits for one line, and the
 * line that makes it become the program.
 */
import type { ProcessRequest } from '../../port/container-process';
import { MARKER } from '../process-marker';

/** Maximum bytes of a line: shells read it byte by byte, which takes 0.11 ms each under gVisor. */
const MOST_LINE = 250;

/** The variable with the script; the command line of the session stays short, as `ps` shows it. */
const SCRIPT = 'BERTH_AHEAD';

/** A variable of the sessions that wait with a terminal, which do not end with their connection. */
export const WAITING_TERMINAL = `${SCRIPT}_TTY`;

/** The `$0` of Berth's own scripts. */
export const SCRIPTS_NAME = 'berth';

const COMMAND = ['sh', '-c', `eval "$${SCRIPT}"`] as const;

/** Whether a program, its words joined by spaces as in Docker's events, is a session. */
export function isSessionCommand(words: string): boolean {
  return words.startsWith(`${COMMAND.join(' ')} `);
}

/** What a session was opened with. */
export interface SessionTerms {
  readonly env: Readonly<Record<string, string>>;
  /** Berth's own scripts that the session knows; a line refers to them by their number. */
  readonly texts: readonly string[];
}

/** A program that may be started by a line. */
export type AheadRequest = Pick<ProcessRequest, 'command' | 'cwd' | 'env' | 'terminal' | 'stdin'>;

/**
 * Variables that a shell sets, needs or reads itself, and those of the script: a program must get them from Docker.
 */
const SHELLS_OWN =
  /^(_|PWD|OLDPWD|SHLVL|IFS|PPID|LINENO|OPT(IND|ARG|ERR)|ENV|E?UID|GROUPS|RANDOM|SECONDS|SHELLOPTS|POSIXLY_CORRECT|(BASH|berth|BERTH_AHEAD|KSH|ZSH).*)$/;

/** Whether all variables reach a program through a shell unchanged: some shells drop other names. */
export function passThroughShell(names: Iterable<string>): boolean {
  for (const name of names) if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || SHELLS_OWN.test(name)) return false;
  return true;
}

/**
 * @returns the variables that a line has to add; null if the session has others, or with other values. The marker is
 *   always the session's: no request can set it, as with an exec of its own
 */
function addedVariables(
  opened: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>>,
): [name: string, value: string][] | null {
  for (const [name, value] of Object.entries(opened)) if (name !== MARKER && wanted[name] !== value) return null;
  return Object.entries(wanted).filter(([name]) => name !== MARKER && !Object.hasOwn(opened, name));
}

/** @returns the variables for later sessions: those that both have, with the same value */
export function commonVariables(
  one: Readonly<Record<string, string>>,
  other: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(Object.entries(one).filter(([name, value]) => other[name] === value));
}

/** Why a program cannot take a session. */
export type Unsuitable = 'variables' | 'length' | 'form';

/** Whether the session's variables are those of the program, or a line can add the missing ones. */
export function suits(terms: SessionTerms, env: Readonly<Record<string, string>>): boolean {
  const added = addedVariables(terms.env, env);
  if (!added || !passThroughShell(added.map(([name]) => name))) return false;
  return Buffer.byteLength(exported(added)) <= MOST_LINE / 2;
}

/**
 * The line that makes the session become the program, or why there is none. `isEvaluated`: the session's shell runs
 * the script itself, instead of executing another shell for it.
 */
export type Line =
  | { readonly line: string; readonly isEvaluated?: true; readonly unsuitable?: undefined }
  | { readonly line?: undefined; readonly isEvaluated?: undefined; readonly unsuitable: Unsuitable };

export function lineOf(terms: SessionTerms, { command, cwd, env = {}, terminal, stdin }: AheadRequest): Line {
  const added = addedVariables(terms.env, env);
  if (!added || !passThroughShell(added.map(([name]) => name))) return { unsuitable: 'variables' };
  const [program = ''] = command;
  // Docker resolves these before it starts a program; a shell would differ.
  if (program === '' || (program.includes('/') && !program.startsWith('/'))) return { unsuitable: 'form' };
  if (cwd !== undefined && !isPlainPath(cwd)) return { unsuitable: 'form' };
  // A terminal without an input is rare, and would have to be emulated.
  if (terminal === true && stdin !== true) return { unsuitable: 'form' };
  const words = command.map((argument) => {
    const known = terms.texts.indexOf(argument);
    return known < 0 ? quote(argument) : `"${parameter(known)}"`;
  });
  if (cwd === undefined && added.length === 0 && isOwnScript(terms, command)) {
    const input = stdin === true ? '' : 'exec </dev/null;';
    const set = ['set', '--', ...words.slice(4)].join(' ');
    const line = `berth=${parameter(terms.texts.indexOf(command[2] ?? ''))};${input}${set}\n`;
    return Buffer.byteLength(line) > MOST_LINE ? { unsuitable: 'length' } : { line, isEvaluated: true };
  }
  const line = `${exported(added)}r ${stdin === true ? 'i' : 'n'} ${quote(cwd ?? '')} ${words.join(' ')}\n`;
  // A terminal interprets control characters, and cuts long lines.
  if (terminal === true && /[^\P{Cc}\n]/u.test(line)) return { unsuitable: 'form' };
  return Buffer.byteLength(line) > MOST_LINE ? { unsuitable: 'length' } : { line };
}

/** Whether the command is one of Berth's own scripts, which the session knows and a shell of its own would run. */
function isOwnScript({ texts }: SessionTerms, [shell = '', option, script = '', name]: readonly string[]): boolean {
  return ['sh', '/bin/sh'].includes(shell) && option === '-c' && name === SCRIPTS_NAME && texts.includes(script);
}

/** The session's parameter with a text; the first one is a newline. */
function parameter(text: number): string {
  return text + 2 > 9 ? `\${${String(text + 2)}}` : `$${String(text + 2)}`;
}

function isPlainPath(path: string): boolean {
  return path.startsWith('/') && !/(^|\/)\.{1,2}(\/|$)/.test(path);
}

function exported(variables: readonly (readonly [name: string, value: string])[]): string {
  if (variables.length === 0) return '';
  return `export ${variables.map(([name, value]) => `${name}=${quote(value)}`).join(' ')};`;
}

/** Quotes a word of a line, which contains no newline: `"$1"` is one. */
function quote(word: string): string {
  if (/^[A-Za-z0-9_/.,:@%+-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", `'\\''`).replaceAll('\n', `'"$1"'`)}'`;
}

/**
 * What a session writes to stderr (a terminal: to its output), each followed by a line break: once it waits for its
 * line; right before it becomes the program; or instead, if only Docker can start the program, or report why it does
 * not start. A shell that fails to execute the program begins its message with {@link failed}.
 */
export function signalsOf(token: string): { ready: string; begun: string; declined: string; failed: string } {
  return { ready: `${token} ready`, begun: token, declined: `${token} no`, failed: `${token}:` };
}

/**
 * The script of a session; plain `sh`, for dash, busybox and bash. Its `$0` is the session's token. It finds the
 * program itself: `command -v` also finds the shell's own commands, which `exec` does not run. A busybox that prefers
 * its own applets to files declines programs that are other files. `exec` gets the program's name as it was given, so
 * that the program sees the same name as if Docker had started it. After a line for one of Berth's own scripts, it
 * evaluates the text in `$berth`, which saves the start of another shell. `PWD`, `OLDPWD` and `SHLVL` are the shell's;
 * Docker sets none. SIGURG ends the session while it waits, and by default does nothing to a program.
 */
function script(texts: readonly string[]): string {
  const names = texts.map((_text, index) => `${SCRIPT}_${String(index)}`);
  return `
trap 'exit 0' URG
berth_path=$PATH
PATH=/
command -v ls >/dev/null && berth_own=1 || berth_own=
PATH=$berth_path
no() { echo "$0 no" >&2; exit 0; }
has() { [ -f "$1" ] && [ -x "$1" ]; }
search() {
  berth_path=$PATH:
  while [ -n "$berth_path" ]; do
    berth_file=\${berth_path%%:*}/$1
    berth_path=\${berth_path#*:}
    case $berth_file in /*) ;; *) no ;; esac
    has "$berth_file" || continue
    [ -z "$berth_own" ] || [ "$berth_file" -ef /proc/$$/exe ] || no
    return
  done
  no
}
r() {
  berth_in=$1
  [ -z "$2" ] || cd -P -- "$2" 2>/dev/null || no
  shift 2
  case $1 in */*) has "$1" || no ;; *) search "$1" ;; esac
  unset PWD OLDPWD SHLVL
  trap - URG
  echo "$0" >&2
  [ "$berth_in" = i ] || exec "$@" </dev/null
  exec "$@"
}
set -- '
' ${names.map((name) => `"$${name}"`).join(' ')}
unset ${[SCRIPT, WAITING_TERMINAL, ...names].join(' ')}
echo "$0 ready" >&2
IFS= read -r berth_line || exit 0
eval "$berth_line"
unset -f no has search r
unset berth_path berth_own berth_line
trap - URG
echo "$0" >&2
eval "$berth"
`;
}

/** The command and the variables by which a session is opened. */
export function sessionCommand(
  token: string,
  { env, texts }: SessionTerms,
  terminal = false,
): { command: string[]; env: Record<string, string> } {
  const known = texts.map((text, index) => [`${SCRIPT}_${String(index)}`, text] as const);
  return {
    command: [...COMMAND, token],
    env: {
      ...env,
      ...Object.fromEntries(known),
      ...(terminal && { [WAITING_TERMINAL]: '1' }),
      [SCRIPT]: script(texts),
    },
  };
}
