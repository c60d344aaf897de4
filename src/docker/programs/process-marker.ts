import type { SignalName } from '../port/container-process';
import type { EnginePrograms } from '../port/engine-programs';

/**
 * A variable in the environment of a program that Berth started; all its descendants inherit it. A process's pid,
 * parent, group or session do not identify it reliably: they may be reused, or the process may have left them.
 */
export const MARKER = 'BERTH_SESSION';

/** How many bytes of each environment `head` reads: the kernel's limit of one variable. */
const MOST_ENVIRON = 131_072;

/**
 * Finds processes by their marker, and their descendants. A plain `sh` script, run as the user of the processes:
 * under runc, root may not read another user's environment, so programs that run as yet another user are found by
 * their parents. Its arguments are the markers, one per line, then those of the verb. One pass reads all
 * environments, another all parents: a call for each process would take seconds under gVisor with hundreds of
 * processes. If `grep` stops at a zero byte (busybox), zero bytes are first replaced by line breaks. If the programs
 * for that are missing, the shell's own `read` is used, byte by byte: that of dash, bash and busybox skips the zero
 * bytes between variables. `command` passes by functions of these names that the image's shell may define.
 */
const FIND = `
PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
markers=$1
shift

marked() {
  if printf 'a\\0b' | command grep -qaF b 2>/dev/null; then
    set --
    for marker in $markers; do set -- "$@" -e "$marker"; done
    command grep -laF "$@" /proc/[0-9]*/environ 2>/dev/null
  elif [ "$(printf 'a\\0b' | command head -v -c 3 2>/dev/null | command tr '\\0' '\\n' | command grep -F b)" = b ]; then
    set -- -e '==> /proc/'
    for marker in $markers; do set -- "$@" -e "$marker"; done
    command head -v -c ${MOST_ENVIRON} /proc/[0-9]*/environ 2>/dev/null | command tr '\\0' '\\n' | command grep -F "$@" |
      while IFS= read -r line; do
        case $line in
          '==> /proc/'*) file=\${line#==> } file=\${file% <==} ;;
          *) echo "$file" ;;
        esac
      done
  else
    for file in /proc/[0-9]*/environ; do
      while IFS= read -r line || [ -n "$line" ]; do
        for marker in $markers; do
          case $line in *"$marker"*) echo "$file"; break 2 ;; esac
        done
      done 2>/dev/null <"$file"
    done
  fi | while IFS=/ read -r _ _ pid _; do echo "$pid"; done
}

# The name between the parentheses may be anything. Not by the output of a subshell: that takes a process each time.
find_parent() {
  parent=none
  { IFS= read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
  set -- \${stat##*) }
  parent=$2
}

# "child:parent" of all processes.
find_parents() {
  parents=$(command cat /proc/[0-9]*/stat 2>/dev/null |
    command sed -n 's/^\\([0-9]*\\) (.*) [A-Za-z] \\([0-9]*\\) .*/\\1:\\2/p' 2>/dev/null)
  [ -z "$parents" ] || return 0
  for dir in /proc/[0-9]*; do
    find_parent "\${dir#/proc/}"
    parents="$parents \${dir#/proc/}:$parent"
  done
}

find_all() {
  all=" $(marked | while read -r pid; do printf '%s ' "$pid"; done)"
  [ "$all" = ' ' ] && all=
  [ -n "$all" ] || return 0
  find_parents
  more=1
  while [ -n "$more" ]; do
    more=
    for pair in $parents; do
      pid=\${pair%:*}
      case $all in *" $pid "*) continue ;; esac
      case $all in *" \${pair#*:} "*) more=1 all="$all$pid " ;; esac
    done
  done
}
`;

/**
 * Arguments: the first signal, and how many tenths of a second to wait after it. Succeeds if all processes have
 * ended.
 */
const END = `${FIND}
turns=$2
for signal in "$1" KILL KILL; do
  find_all
  [ -n "$all" ] || exit 0
  kill -s "$signal" $all 2>/dev/null
  [ "$signal" = KILL ] || kill -s CONT $all 2>/dev/null
  while [ "$turns" -gt 0 ]; do
    left=
    for pid in $all; do [ -d "/proc/$pid" ] && left="$left $pid"; done
    [ -n "$left" ] || break
    sleep 0.1 || { sleep 1; turns=$((turns - 9)); }
    turns=$((turns - 1))
  done 2>/dev/null
  [ -z "$left" ] || kill -s KILL $left 2>/dev/null
  turns=30
done
find_all
[ -z "$all" ]
`;

/** Argument: the signal. Fails if no process gets it; some may end before they do. */
const SIGNAL = `${FIND}
find_all
sent=1
for pid in $all; do kill -s "$1" "$pid" 2>/dev/null && sent=0; done
exit "$sent"
`;

/** Maximum descendants that are reported of a program. */
const MOST_DESCENDANTS = 16;

/**
 * Writes, for each of the markers, the names of all processes but the first, which is the program itself: a line with
 * the marker's number and the name. A process that has ended and waits for its parent is no job.
 */
const DESCENDANTS = `${FIND}
number=0
for each in $markers; do
  markers=$each
  find_all
  first=
  for pid in $all; do [ -n "$first" ] && [ "$first" -lt "$pid" ] || first=$pid; done
  left=${MOST_DESCENDANTS}
  for pid in $all; do
    [ "$left" -gt 0 ] || break
    [ "$pid" = "$first" ] && continue
    { IFS= read -r stat <"/proc/$pid/stat"; } 2>/dev/null || continue
    case \${stat##*) } in Z*) continue ;; esac
    name=\${stat#*(}
    printf '%s %s\n' "$number" "\${name%)*}"
    left=$((left - 1))
  done
  number=$((number + 1))
done
`;

/**
 * Finds what runs in programs that were started with markers, as a shell's jobs do: the names of their descendants, as
 * the kernel has them, at most 16 of each.
 *
 * @returns in the order of the markers
 * @throws EngineError as {@link EnginePrograms.run}, such as `command_not_started` if the image has no shell
 */
export async function descendantsOf(
  programs: Pick<EnginePrograms, 'run'>,
  dockerId: string,
  markers: readonly string[],
): Promise<readonly (readonly string[])[]> {
  let output = '';
  await programs.run(dockerId, {
    command: ['/bin/sh', '-c', DESCENDANTS, 'berth', variables(markers)],
    timeoutMs: 10_000,
    maxOutputBytes: 64 * 1024,
    onOutput: ({ stream, data }) => {
      if (stream === 'stdout') output += data.toString('latin1');
    },
  });
  const lines = Buffer.from(output, 'latin1').toString().split('\n');
  return markers.map((_marker, number) => {
    const prefix = `${String(number)} `;
    return lines.flatMap((line) => (line.startsWith(prefix) ? line.slice(prefix.length) : []));
  });
}

/**
 * @returns arguments for a shell that sends `signal` to all processes with any of the markers, SIGKILL after `graceMs`,
 *   and waits for their end
 */
export function endMarked(
  markers: readonly string[],
  { signal, graceMs }: { signal: SignalName; graceMs: number },
): string[] {
  return ['-c', END, 'berth', variables(markers), signal, String(Math.ceil(graceMs / 100))];
}

/** @returns arguments for a shell that sends a signal to all processes with the marker */
export function signalMarked(marker: string, signal: SignalName): string[] {
  return ['-c', SIGNAL, 'berth', variables([marker]), signal];
}

/** @returns arguments for a shell that sends a signal to all processes that have the variable, and their descendants */
export function signalHolders(variable: string, signal: string): string[] {
  return ['-c', SIGNAL, 'berth', `${variable}=`, signal];
}

function variables(markers: readonly string[]): string {
  return markers.map((marker) => `${MARKER}=${marker}`).join('\n');
}

/** Batches work: items that are added while a batch of their kind runs wait, and form the next batch. */
export class Batches<Item, Outcome> {
  private readonly running = new Map<string, Promise<unknown>>();
  private readonly gathering = new Map<string, { readonly items: Item[]; readonly outcome: Promise<Outcome> }>();

  /** @param kind items of the same kind are processed together */
  add(kind: string, item: Item, work: (items: readonly Item[]) => Promise<Outcome>): Promise<Outcome> {
    const batch = this.gathering.get(kind);
    if (batch) {
      batch.items.push(item);
      return batch.outcome;
    }
    const items = [item];
    const outcome = this.runAfter(kind, this.running.get(kind), () => work(items));
    this.gathering.set(kind, { items, outcome });
    return outcome;
  }

  private async runAfter(
    kind: string,
    before: Promise<unknown> | undefined,
    work: () => Promise<Outcome>,
  ): Promise<Outcome> {
    await before?.catch(() => undefined);
    // Items that are added in the same turn all join this batch.
    await Promise.resolve();
    this.gathering.delete(kind);
    const running = work();
    this.running.set(kind, running);
    try {
      return await running;
    } finally {
      if (this.running.get(kind) === running) this.running.delete(kind);
    }
  }
}
