import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from '../support/eventually';

const run = promisify(execFile);

/** All namespaces but the network's: its programs use this machine's Docker and ports. */
const NAMESPACES = ['--mount', '--pid', '--fork', '--uts', '--ipc'];

/** A systemd that runs units as on a real machine, in namespaces of its own. It leaves nothing behind. */
export class SystemdBox {
  private constructor(
    private readonly folder: string,
    private readonly outer: ChildProcess,
    private readonly init: string,
  ) {}

  /** True if there is a systemd, and the permission to give it a root of its own. */
  static isPossible(): boolean {
    if (process.getuid?.() !== 0 || !existsSync('/lib/systemd/systemd')) return false;
    const folder = mkdtempSync(join(tmpdir(), 'berth-box-'));
    const layers = 'lowerdir=/,upperdir=up,workdir=work';
    const tried = `mount -t tmpfs tmpfs . && cd "$PWD" && mkdir up work root && mount -t overlay o -o ${layers} root &&
      mount -t cgroup2 cgroup2 root/sys`;
    try {
      execFileSync('unshare', [...NAMESPACES, 'sh', '-c', tried], { cwd: folder, stdio: 'ignore' });
      return true;
    } catch {
      return false;
    } finally {
      rmdirSync(folder);
    }
  }

  /** @param setup a script that prepares its files, under $R; it gets `environment` */
  static async start(setup: string, environment: Record<string, string>): Promise<SystemdBox> {
    const folder = mkdtempSync(join(tmpdir(), 'berth-box-'));
    const env = { ...process.env, ...environment, BOX: folder, CGROUP: basename(folder), SETUP: setup };
    const outer = spawn('unshare', [...NAMESPACES, 'bash', join(__dirname, 'systemd-box.sh')], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const pid = String(outer.pid);
    let init = '';
    await eventually(async () => {
      [init = ''] = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).split(' ');
      expect(await readFile(`/proc/${init}/comm`, 'utf8')).toBe('systemd\n');
    });
    const box = new SystemdBox(folder, outer, init);
    await eventually(async () => expect(await box.run('systemctl', 'is-system-running')).toBe('running'));
    return box;
  }

  /** @returns the command's output. @throws if it fails */
  async run(...command: readonly string[]): Promise<string> {
    const { stdout } = await run('nsenter', ['--target', this.init, '--all', '--root', '--wd=/', ...command]);
    return stdout.trim();
  }

  /** The properties in the format of `systemctl show`. */
  async show(unit: string, ...properties: readonly string[]): Promise<Record<string, string>> {
    const lines = await this.run('systemctl', 'show', '-p', properties.join(','), unit);
    return Object.fromEntries(
      lines.split('\n').map((line) => {
        const [name = '', ...rest] = line.split('=');
        return [name, rest.join('=')];
      }),
    );
  }

  /** All of its processes end with its first one. */
  async end(): Promise<void> {
    const ended = once(this.outer, 'exit');
    process.kill(Number(this.init), 'SIGKILL');
    await ended;
    const removal = `mount -t cgroup2 cgroup2 . && cd "$PWD$(sed -n 's/^0:://p' /proc/self/cgroup)" &&
      find ./${basename(this.folder)} -depth -type d -exec rmdir {} +`;
    await run('unshare', ['--mount', 'sh', '-c', removal], { cwd: this.folder });
    rmdirSync(this.folder);
  }
}
