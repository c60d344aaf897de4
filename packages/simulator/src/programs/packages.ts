import { FileNode } from '../file-tree';
import type { Process } from '../process';
import { type Program, usage } from './program';

/** What packages have beside a program of their own name. */
const PROGRAMS_OF: Readonly<Record<string, readonly string[]>> = {
  'ansible-core': ['ansible', 'ansible-playbook'],
  cargo: ['cargo'],
  'golang-go': ['go', 'gofmt'],
  neovim: ['nvim'],
  nodejs: ['node'],
  npm: ['npm', 'npx'],
  'openssh-client': ['ssh', 'scp', 'ssh-keygen'],
  'python3-pip': ['pip3', 'pip'],
  ripgrep: ['rg'],
  rustc: ['rustc'],
};
const NOTHING = /^(?:ca-certificates|lib.*|.*-dev|python3-venv)$/;

/** How long a simulated package takes to come, and to be unpacked, in milliseconds. */
const FETCH_MS = 700;
const UNPACK_MS = 500;

/** Puts a program into the container. */
export function install(process: Process, name: string): void {
  const { fs } = process;
  const path = `/usr/bin/${name}`;
  if (fs.exists(process, path)) return;
  const { directory } = fs.place(process, path);
  const node = new FileNode({ mode: 0o755, uid: 0, gid: 0 }, directory.space);
  node.program = name;
  directory.set(name, node);
}

const aptGet: Program = async (process, args) => {
  const words = args.filter(
    (arg, index) => !arg.startsWith('-') && args[index - 1] !== '-o' && args[index - 1] !== '-t',
  );
  const [verb = '', ...packages] = words;
  const descriptor = Number(args.find((arg) => arg.startsWith('APT::Status-Fd='))?.split('=')[1] ?? 0);
  const tell = async (line: string): Promise<void> => {
    if (descriptor > 0 && process.files.has(descriptor)) await process.write(descriptor, `${line}\n`);
  };
  if (process.uid !== 0 && verb !== '') {
    return usage(
      process,
      'E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)',
      100,
    );
  }
  const { pace } = process.table;
  switch (verb) {
    case 'update':
      await process.write(1, 'Hit:1 http://simulated.invalid/debian trixie InRelease\n');
      await tell('dlstatus:1:50.0:Retrieving file 1 of 2');
      await process.sleep(FETCH_MS * pace);
      await tell('dlstatus:2:100.0:Retrieving file 2 of 2');
      await process.write(1, 'Reading package lists...\n');
      return 0;
    case 'install': {
      await process.write(
        1,
        `Reading package lists...\nThe following NEW packages will be installed:\n  ${packages.join(' ')}\n`,
      );
      const unknown = packages.find((name) => !/^[a-z0-9][a-z0-9+.-]+$/.test(name) || name.startsWith('no-such'));
      if (unknown !== undefined) return usage(process, `E: Unable to locate package ${unknown}`, 100);
      for (const [index, name] of packages.entries()) {
        await tell(`dlstatus:${String(index + 1)}:${((100 * index) / packages.length).toFixed(1)}:Retrieving ${name}`);
        await process.sleep(FETCH_MS * pace);
      }
      for (const [index, name] of packages.entries()) {
        await tell(`pmstatus:${name}:${((100 * index) / packages.length).toFixed(1)}:Installing ${name} (simulated)`);
        await process.write(1, `Setting up ${name} (simulated) ...\n`);
        await process.sleep(UNPACK_MS * pace);
        for (const program of PROGRAMS_OF[name] ?? (NOTHING.test(name) ? [] : [name])) install(process, program);
      }
      await tell('pmstatus:dpkg-exec:100.0:Running dpkg');
      return 0;
    }
    default:
      return 0;
  }
};

export const PACKAGE_PROGRAMS: Readonly<Record<string, Program>> = {
  apt: aptGet,
  'apt-get': aptGet,
  dpkg: () => 0,
};
