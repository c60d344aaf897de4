import { execFile } from 'node:child_process';
import type { FirewallTable } from './firewall-rules';

/** How many seconds iptables waits for another process that changes rules. */
const LOCK_WAIT_SECONDS = '5';
const TIMEOUT_MS = 15_000;
/** Maximum output: far more than the rules of all sandboxes of a machine. */
const MOST_BYTES = 64 * 1024 * 1024;

/** Debian installs these programs in folders that are not in every process's PATH. */
const SEARCH_PATH = `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`;

/** Rules can be neither read nor written. `message` says why, for an operator. */
export class IptablesError extends Error {
  override readonly name = 'IptablesError';
}

/** One table of the host's packet filter, for one address family. */
export interface PacketFilter {
  /** The rules of the table, one a line, as `iptables -S` prints them. @throws IptablesError */
  rules(): Promise<string[]>;
  /** Applies all lines of a change, or none. @throws IptablesError */
  apply(lines: readonly string[]): Promise<void>;
}

/**
 * Runs a program without a shell. @returns what it writes. @throws IptablesError
 */
export type RunProgram = (program: string, args: readonly string[], input?: string) => Promise<string>;

/** The program `iptables` (or `ip6tables`), which writes to nftables if the host has that. No shell is involved. */
export class Iptables implements PacketFilter {
  /**
   * @param table `mangle` precedes Docker's and all other filtering, and address translation; `raw` precedes even the
   *   tracking of connections; `nat` translates addresses
   * @param run runs the programs, if the host is another machine
   */
  constructor(
    private readonly program: 'iptables' | 'ip6tables',
    private readonly table: FirewallTable | 'nat' = 'mangle',
    private readonly run: RunProgram = runHere,
  ) {}

  async rules(): Promise<string[]> {
    const output = await this.run(this.program, ['-w', LOCK_WAIT_SECONDS, '-t', this.table, '-S']);
    return output.split('\n').filter((line) => line !== '');
  }

  async apply(lines: readonly string[]): Promise<void> {
    const script = [`*${this.table}`, ...lines, 'COMMIT', ''].join('\n');
    await this.run(`${this.program}-restore`, ['-w', LOCK_WAIT_SECONDS, '--noflush'], script);
  }
}

function runHere(program: string, args: readonly string[], input = ''): Promise<string> {
  const options = { timeout: TIMEOUT_MS, maxBuffer: MOST_BYTES, env: { PATH: SEARCH_PATH, LC_ALL: 'C' } };
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (error) reject(new IptablesError(reasonOf({ program, error, stderr }), { cause: error }));
      else resolve(stdout);
    });
    // The program may exit without having read everything; its exit code gives the result.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}

function reasonOf({ program, error, stderr }: { program: string; error: Error; stderr: string }): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') {
    return `the program ${program} is not installed (also where the machine uses nftables: iptables writes to that)`;
  }
  return refusalIn(program, stderr, error.message);
}

/** @param otherwise the reason if the program wrote none */
export function refusalIn(program: string, stderr: string, otherwise: string): string {
  const said = stderr.split('\n').find((line) => line.trim() !== '') ?? otherwise;
  // iptables' message starts with its own name and version.
  return `${program} refuses: ${said.trim().replace(/^ip6?tables[^:]*: /, '')}`;
}
