import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestUser } from '../servers/berth';
import { Program } from '../servers/program';

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly input?: string | Buffer;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** OpenSSH's own programs, with a key of their own, as a client of one server. */
export class SshClient {
  private constructor(
    readonly folder: string,
    readonly port: number,
    readonly keyId: string,
  ) {}

  /** Generates a key, registers it, and pins the server's host keys. */
  static async of(user: Pick<TestUser, 'api'>, { type }: { type?: string } = {}): Promise<SshClient> {
    const folder = mkdtempSync(join(tmpdir(), 'berth-ssh-'));
    const publicKey = await newKey(join(folder, 'key'), type);
    const server = (await user.api.call('GET', '/api/ssh')).body as unknown as {
      port: number;
      host_keys: { public_key: string }[];
    };
    const registered = await user.api.call('POST', '/api/me/ssh-keys', { name: 'test', public_key: publicKey });
    if (registered.status !== 201) throw new Error(registered.text);
    const lines = server.host_keys.map(({ public_key }) => `[127.0.0.1]:${String(server.port)} ${public_key}\n`);
    writeFileSync(join(folder, 'known_hosts'), lines.join(''));
    const client = new SshClient(folder, server.port, String(registered.body['id']));
    writeFileSync(join(folder, 'config'), client.config());
    return client;
  }

  /** The options that each of the programs takes. */
  get options(): string[] {
    return ['-F', join(this.folder, 'config')];
  }

  /** `ssh NAME …` */
  ssh(name: string, args: readonly string[] = [], options?: RunOptions): Promise<Ran> {
    return this.run('ssh', [...this.options, `${name}@berth`, ...args], options);
  }

  run(command: string, args: readonly string[], { input = '', cwd, env }: RunOptions = {}): Promise<Ran> {
    const child = spawn(command, [...args], { cwd, env: { ...process.env, ...this.environment, ...env } });
    const said = { stdout: '', stderr: '' };
    child.stdout.on('data', (data: Buffer) => (said.stdout += data.toString('latin1')));
    child.stderr.on('data', (data: Buffer) => (said.stderr += data.toString()));
    child.stdin.on('error', () => undefined).end(input);
    return new Promise((resolve, reject) => {
      child.once('error', reject).once('close', (code) => resolve({ code, ...said }));
    });
  }

  /** A program that goes on, such as a tunnel. */
  start(command: string, args: readonly string[]): Program {
    return new Program(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...this.environment },
    });
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** For programs that start `ssh` themselves. */
  private get environment(): Record<string, string> {
    return { GIT_SSH_COMMAND: `ssh -F ${join(this.folder, 'config')}`, GIT_TERMINAL_PROMPT: '0' };
  }

  private config(): string {
    const known = join(this.folder, 'known_hosts');
    return [
      'Host *',
      '  StrictHostKeyChecking yes',
      `  UserKnownHostsFile ${known}`,
      '  GlobalKnownHostsFile /dev/null',
      '  IdentitiesOnly yes',
      `  IdentityFile ${join(this.folder, 'key')}`,
      '  BatchMode yes',
      '  LogLevel ERROR',
      '  ConnectTimeout 20',
      'Host berth',
      '  HostName 127.0.0.1',
      `  Port ${String(this.port)}`,
      '',
    ].join('\n');
  }
}

/** @returns the public key's line */
export async function newKey(file: string, type = 'ed25519'): Promise<string> {
  const made = new Program('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', 'test', '-f', file]);
  if ((await made.ended) !== 0) throw new Error(made.output);
  const shown = new Program('cat', [`${file}.pub`]);
  await shown.ended;
  return shown.output.trim();
}
