import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Longer than any documented command takes; a command that does not end is killed. */
const LONGEST_MS = 60_000;

/** `ID=91f60747-…   # the "db_id" of the answer`: a value that a reader copies from the output. */
const COPIED = /^(\w+)=\S+ +# the "(\w+)" of the answer$/gm;
const ASSIGNED = /^(\w+)=/gm;

/**
 * Bash runs this before each block: it restores the variables, and defines how to read a name's last value in the
 * output.
 */
const PRELUDE = `
source ./.state
answer() { grep -o "\\"$1\\":\\"[^\\"]*\\"" ./.output | tail -n 1 | cut -d '"' -f 4; }
websocat() { (cd "$PROJECT" && node -e "$WEBSOCAT" -- "$@"); }
keep() { { declare -f; for name in $NAMES; do declare -p "$name" 2>/dev/null || true; done; } >./.state; }
trap keep EXIT
set -euo pipefail
`;

/**
 * Debian has no `websocat`. This replacement uses `ws` and behaves like `-t -H HEADER URL`: it prints each message on
 * a line. Instead of reading the keyboard, it types `exit` at the prompt.
 */
const WEBSOCAT = `
const { WebSocket } = require('ws');
const [text, flag, header, url, ...others] = process.argv.slice(1);
if (text !== '-t' || flag !== '-H' || others.length > 0) throw new Error('unknown arguments');
const [name, value] = header.split(': ');
const socket = new WebSocket(url, { headers: { [name]: value } });
socket.on('message', (data) => {
  console.log(String(data));
  if (JSON.parse(data).type === 'output') socket.send('exit\\n');
});
`;

export interface ShellAnswer {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The bash of a reader who runs the blocks of a document one by one, in a folder of their own. */
export class ReaderShell {
  private readonly folder = mkdtempSync(join(tmpdir(), 'berth-reader-'));
  private readonly names = new Set<string>();

  /** @param given variables that differ from the document's values */
  constructor(private readonly given: Readonly<Record<string, string>>) {
    for (const name of ['.state', '.output']) writeFileSync(this.path(name), '');
  }

  async run(block: string): Promise<ShellAnswer> {
    for (const [, name] of block.matchAll(ASSIGNED)) if (name) this.names.add(name);
    const own = new RegExp(`^(${Object.keys(this.given).join('|')})=.*\n`, 'gm');
    const commands = block.replaceAll(own, '').replaceAll(COPIED, '$1=$(answer $2)');
    writeFileSync(this.path('.block'), PRELUDE + commands);
    const before = this.read('.output').length;
    const stdout = openSync(this.path('.output'), 'a');
    const stderr = openSync(this.path('.errors'), 'w');
    const env = {
      ...this.given,
      PATH: process.env['PATH'],
      HOME: this.folder,
      NAMES: [...this.names].join(' '),
      PROJECT: process.cwd(),
      WEBSOCAT,
    };
    const shell = spawn('bash', ['.block'], { cwd: this.folder, env, stdio: ['ignore', stdout, stderr] });
    const late = setTimeout(() => shell.kill(), LONGEST_MS);
    const code = await new Promise<number | null>((resolve) => shell.once('close', resolve));
    clearTimeout(late);
    closeSync(stdout);
    closeSync(stderr);
    return { code, stdout: this.read('.output').slice(before), stderr: this.read('.errors') };
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  private path(name: string): string {
    return join(this.folder, name);
  }

  private read(name: string): string {
    return readFileSync(this.path(name), 'utf8');
  }
}
