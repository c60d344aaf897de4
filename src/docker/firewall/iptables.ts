import { execFile } from 'node:child_process';

/** The table that Berth's rules are in: it comes before Docker's and everybody else's filtering, and before address translation. */
export const TABLE = 'mangle';

/** Seconds that iptables waits for another process that changes rules. */
const LOCK_WAIT_SECONDS = '5';
const TIMEOUT_MS = 15_000;

/** Debian keeps these programs in folders that are not in every process's PATH. */
const SEARCH_PATH = `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`;

/** Why rules can be neither read nor written, in words for an operator. */
export class IptablesError extends Error {
  override readonly name = 'IptablesError';
}

/** The machine's packet filter for one family of addresses. */
export interface PacketFilter {
  /** The table {@link TABLE}, a line a rule, as `iptables -S` prints them. @throws IptablesError */
  rules(): Promise<string[]>;
  /** Carries out all lines of a change, or none of them. @throws IptablesError */
  apply(lines: readonly string[]): Promise<void>;
}

/** The program `iptables` (or `ip6tables`), which writes to nftables where the machine has that. No shell reads anything. */
export class Iptables implements PacketFilter {
  constructor(private readonly program: 'iptables' | 'ip6tables') {}

  async rules(): Promise<string[]> {
    const output = await run(this.program, ['-w', LOCK_WAIT_SECONDS, '-t', TABLE, '-S']);
    return output.split('\n').filter((line) => line !== '');
  }

  async apply(lines: readonly string[]): Promise<void> {
    const script = [`*${TABLE}`, ...lines, 'COMMIT', ''].join('\n');
    await run(`${this.program}-restore`, ['-w', LOCK_WAIT_SECONDS, '--noflush'], script);
  }
}

function run(program: string, args: readonly string[], input = ''): Promise<string> {
  const options = { timeout: TIMEOUT_MS, env: { PATH: SEARCH_PATH, LC_ALL: 'C' } };
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (error) reject(new IptablesError(reasonOf({ program, error, stderr }), { cause: error }));
      else resolve(stdout);
    });
    // It may end without having read everything; its exit code tells what of it.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}

function reasonOf({ program, error, stderr }: { program: string; error: Error; stderr: string }): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') {
    return `the program ${program} is not installed (also where the machine uses nftables: iptables writes to that)`;
  }
  const said = stderr.split('\n').find((line) => line.trim() !== '') ?? error.message;
  // It begins with its own name and version.
  return `${program} refuses: ${said.trim().replace(/^ip6?tables[^:]*: /, '')}`;
}
