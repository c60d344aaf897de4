import { DirectoryNode, FileNode, LinkNode, MadeDirectory, MadeNode, type Node, type Space } from './file-tree';
import { PROGRAM_NAMES } from './programs';
import { USERS } from './programs/users';
import type { Process, ProcessTable } from './process';

const ROOT = { uid: 0, gid: 0 } as const;

const TEXTS: Readonly<Record<string, string>> = {
  '/etc/hostname': 'simulated\n',
  '/etc/hosts': '127.0.0.1\tlocalhost\n',
  '/etc/os-release': 'PRETTY_NAME="Simulated Debian"\nNAME="Debian GNU/Linux"\nID=debian\nVERSION_CODENAME=trixie\n',
  '/etc/passwd': USERS.map(({ name, id, home }) => `${name}:x:${String(id)}:${String(id)}::${home}:/bin/sh\n`).join(''),
  '/etc/group': USERS.map(({ name, id }) => `${name}:x:${String(id)}:\n`).join(''),
  '/etc/resolv.conf': '# There is no network in a simulated container.\n',
  '/etc/profile': '',
};

const DIRECTORIES = [
  '/dev',
  '/etc',
  '/home',
  '/opt',
  '/root',
  '/run',
  '/srv',
  '/usr',
  '/usr/bin',
  '/usr/lib',
  '/usr/local',
];
const MORE_DIRECTORIES = [
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/share',
  '/var',
  '/var/lib',
  '/var/log',
  '/var/tmp',
  '/tmp',
];
const DEVICES = ['null', 'zero', 'random', 'urandom', 'tty', 'stdin', 'stdout', 'stderr'];

/** What a container begins with: the root of an image that is simulated, and its volume. */
export function imageTree(space: Space, { volume, home }: { volume: DirectoryNode; home: string }): DirectoryNode {
  const root = new DirectoryNode({ mode: 0o755, ...ROOT }, space);
  const put = (path: string, node: Node): void => {
    const parts = path.split('/').slice(1);
    const name = parts.pop() ?? '';
    let directory = root;
    for (const part of parts) {
      const next = directory.get(part);
      if (next?.kind === 'directory') directory = next;
    }
    directory.set(name, node);
  };
  for (const path of [...DIRECTORIES, ...MORE_DIRECTORIES]) {
    const mode = path.endsWith('/tmp') ? 0o1777 : path === '/root' ? 0o700 : 0o755;
    put(path, new DirectoryNode({ mode, ...ROOT }, space));
  }
  for (const name of ['bin', 'sbin', 'lib']) put(`/${name}`, new LinkNode(`usr/${name}`, ROOT));
  for (const name of DEVICES) put(`/dev/${name}`, new MadeNode(() => '', { mode: 0o666, device: true }));
  for (const [path, text] of Object.entries(TEXTS)) {
    const file = new FileNode({ mode: 0o644, ...ROOT }, space);
    file.write(0, Buffer.from(text));
    put(path, file);
  }
  for (const name of PROGRAM_NAMES) {
    const file = new FileNode({ mode: 0o755, ...ROOT }, space);
    file.program = name;
    put(`/usr/bin/${name}`, file);
  }
  volume.isMount = true;
  put(home, volume);
  return root;
}

/** What the kernel says of the processes that run now. */
export function processTree(table: () => ProcessTable | null): MadeDirectory {
  const text = (make: () => string): MadeNode => new MadeNode(make);
  const of = ({
    pid,
    parent,
    group,
    argv,
    env,
    state,
    terminal,
    uid,
  }: Pick<Process, 'pid' | 'parent' | 'group' | 'argv' | 'env' | 'state' | 'terminal' | 'uid'>): MadeDirectory => {
    const name = argv[0]?.split('/').at(-1) ?? '';
    const files: Readonly<Record<string, () => string>> = {
      cmdline: () => argv.map((each) => `${each}\0`).join(''),
      comm: () => `${name}\n`,
      environ: () => [...env].map(([key, value]) => `${key}=${value}\0`).join(''),
      stat: () =>
        `${String(pid)} (${name}) ${state} ${String(parent)} ${String(group)} ${String(group)} ${terminal ? '34816' : '0'} -1\n`,
      status: () => `Name:\t${name}\nPid:\t${String(pid)}\nPPid:\t${String(parent)}\nUid:\t${String(uid)}\n`,
    };
    return tree(files, text);
  };
  const general: Readonly<Record<string, () => string>> = {
    cpuinfo: () => 'processor\t: 0\nmodel name\t: simulated\n',
    loadavg: () => '0.02 0.01 0.00 1/1 1\n',
    meminfo: () => `MemTotal: ${String(Math.round((table()?.memoryLimit ?? 0) / 1024))} kB\n`,
    mounts: () => 'overlay / overlay rw 0 0\n/dev/vdb /home/user ext4 rw 0 0\n',
    uptime: () => `${((table()?.uptimeMs ?? 0) / 1000).toFixed(2)} 0.00\n`,
    version: () => 'Linux version 6.1.0-simulated\n',
  };
  const init = {
    pid: 1,
    parent: 0,
    group: 1,
    argv: ['sleep', 'infinity'],
    env: new Map<string, string>(),
    state: 'S' as const,
    terminal: null,
    uid: 0,
  };
  const net = tree({ tcp: () => portTable(table()), tcp6: () => `${PORTS_HEAD}\n` }, text);
  return new MadeDirectory({
    names: () => ['1', ...(table()?.all ?? []).map(({ pid }) => String(pid)), ...Object.keys(general), 'net'],
    get: (name) => {
      if (name === '1') return of(init);
      if (name === 'net') return net;
      const made = general[name];
      if (made) return text(made);
      const process = table()?.get(Number(name));
      return process ? of(process) : null;
    },
  });
}

function tree(files: Readonly<Record<string, () => string>>, text: (make: () => string) => MadeNode): MadeDirectory {
  return new MadeDirectory({
    names: () => Object.keys(files),
    get: (name) => (Object.hasOwn(files, name) ? text(files[name] ?? (() => '')) : null),
  });
}

const PORTS_HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';

function portTable(table: ProcessTable | null): string {
  const lines = [...(table?.ports ?? [])].map((port, index) => {
    const local = `00000000:${port.toString(16).toUpperCase().padStart(4, '0')}`;
    return `   ${String(index)}: ${local} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0`;
  });
  return `${[PORTS_HEAD, ...lines].join('\n')}\n`;
}
