import { InMemoryFs } from 'just-bash';
import { posix } from 'node:path';
import { DATA_PATH, type FileChange } from '../../../src/engine';
import { USERS } from './users';

const MESSAGES = {
  EACCES: 'Permission denied',
  EAGAIN: 'Resource temporarily unavailable',
  EBADF: 'Bad file descriptor',
  EEXIST: 'File exists',
  EINVAL: 'Invalid argument',
  EISDIR: 'Is a directory',
  ELOOP: 'Too many levels of symbolic links',
  ENOENT: 'No such file or directory',
  ENOSPC: 'No space left on device',
  ENOTDIR: 'Not a directory',
  ENOTEMPTY: 'Directory not empty',
} as const;

/** An error of the C library, with its message. */
export class Errno extends Error {
  override readonly name = 'Errno';

  constructor(readonly code: keyof typeof MESSAGES) {
    super(MESSAGES[code]);
  }
}

/** The result of a call of the in-memory file system, whose errors begin with their code. @throws Errno */
export async function errnoOf<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof Errno) throw error;
    const [code = ''] = /^E[A-Z]+/.exec(error instanceof Error ? error.message : '') ?? [];
    throw new Errno(code in MESSAGES ? (code as keyof typeof MESSAGES) : 'EINVAL');
  }
}

/** The first line of a simulated program; the name of the file is the program's. */
export const SIMULATED = '#!simulated\n';

const TEXTS: Readonly<Record<string, string>> = {
  '/etc/hostname': 'simulated\n',
  '/etc/hosts': '127.0.0.1\tlocalhost\n',
  '/etc/os-release': 'PRETTY_NAME="Simulated Debian"\nNAME="Debian GNU/Linux"\nID=debian\nVERSION_CODENAME=trixie\n',
  '/etc/passwd': USERS.map(({ name, id, home }) => `${name}:x:${String(id)}:${String(id)}::${home}:/bin/sh\n`).join(''),
  '/etc/group': USERS.map(({ name, id }) => `${name}:x:${String(id)}:\n`).join(''),
  '/etc/resolv.conf': '# There is no network in a simulated container.\n',
  ...Object.fromEntries(['null', 'zero', 'random', 'urandom', 'tty'].map((name) => [`/dev/${name}`, ''])),
};

const PROC: Readonly<Record<string, string>> = {
  '/proc/cpuinfo': 'processor\t: 0\nmodel name\t: simulated\n',
  '/proc/loadavg': '0.02 0.01 0.00 1/1 1\n',
  '/proc/mounts': 'overlay / overlay rw 0 0\n/dev/vdb /home/user ext4 rw 0 0\n',
  '/proc/uptime': '1.00 1.00\n',
  '/proc/version': 'Linux version 6.1.0-simulated\n',
};

const DIRECTORIES = ['/opt', '/root', '/run', '/srv', '/usr/lib', '/usr/local/bin', '/usr/sbin', '/usr/share', '/tmp'];
const MORE_DIRECTORIES = ['/var/lib', '/var/log', '/var/tmp', DATA_PATH];

/**
 * The calls that change files, and which of their arguments are paths: of a file itself, or of an entry of a directory.
 * The library resolves no symbolic links in them.
 */
const CHANGES = {
  appendFile: { files: [0], entries: [] },
  chmod: { files: [0], entries: [] },
  cp: { files: [0], entries: [1] },
  link: { files: [0], entries: [1] },
  mkdir: { files: [], entries: [0] },
  mv: { files: [], entries: [0, 1] },
  rm: { files: [], entries: [0] },
  symlink: { files: [], entries: [1] },
  utimes: { files: [0], entries: [] },
  writeFile: { files: [0], entries: [] },
} as const;

/** A file as it is saved. */
export interface SavedFile {
  readonly path: string;
  readonly mode: number;
  readonly modifiedMs: number;
  /** Base64; absent for a directory. */
  readonly data?: string;
  readonly link?: string;
}

/** What a container has changed outside its data volume, of the files that its image begins with. */
interface Layer {
  readonly removed: readonly string[];
  readonly saved: readonly SavedFile[];
}

/**
 * The files of a container, those of its data volume among them. They belong to no user, and every user may change
 * them. They are kept with the volume: the next container on it finds `/home/user`, and everything else as in its
 * image.
 */
export class ContainerFiles extends InMemoryFs {
  isUnsaved = false;
  /** Called with every change of a path, at least once; while there are any. */
  readonly listeners = new Set<(type: FileChange['type'], path: string) => void>();
  private isMoving = false;
  /** The container that the files outside of the data volume are of. */
  private container: string | null = null;
  /** Those of every image, as {@link outside} returns them. */
  private base: ReadonlyMap<string, string> = new Map();

  constructor(options: {
    readonly maxBytes: number;
    /** Whether the memory that all simulated files share has room. */
    readonly mayGrow: () => boolean;
    readonly onChange: () => void;
  }) {
    super({}, { maxTotalBytes: options.maxBytes });
    for (const [name, { files, entries }] of Object.entries(CHANGES)) {
      const change = (this[name as keyof typeof CHANGES] as (...args: unknown[]) => Promise<void>).bind(this);
      const checked = async (...args: unknown[]): Promise<void> => {
        if (name !== 'rm' && name !== 'mv' && !options.mayGrow()) throw new Error('ENOSPC: no space left on device');
        for (const at of files) args[at] = await this.file(String(args[at]));
        for (const at of entries) args[at] = await this.entry(String(args[at]));
        const isTold = this.listeners.size > 0 && !this.isMoving;
        const told = isTold ? await this.changesOf(name as keyof typeof CHANGES, args) : [];
        // The library moves by these calls, too: it copies and removes.
        if (name === 'mv') this.isMoving = true;
        try {
          await change(...args);
        } finally {
          if (name === 'mv') this.isMoving = false;
        }
        for (const listener of this.listeners) for (const [type, path] of told) listener(type, path);
        if (String(args[0]).startsWith('/proc/')) return;
        this.isUnsaved = true;
        options.onChange();
      };
      Object.assign(this, { [name]: checked });
    }
    this.mkdirSync(DATA_PATH, { recursive: true });
  }

  /** What a call is about to change. */
  private async changesOf(
    name: keyof typeof CHANGES,
    [first, second]: readonly unknown[],
  ): Promise<[FileChange['type'], string][]> {
    const [at, to] = [String(first), String(second)];
    if (name === 'rm') return (await this.exists(at)) ? [['remove', at]] : [];
    if (name === 'chmod' || name === 'utimes') return [['chmod', at]];
    if (name === 'mv')
      return [
        ['rename', at],
        ['create', to],
      ];
    const target = name === 'cp' || name === 'link' || name === 'symlink' ? to : at;
    const changes: [FileChange['type'], string][] = [];
    for (let path = target; path !== '/' && !(await this.exists(path)); path = posix.dirname(path)) {
      changes.unshift(['create', path]);
    }
    if (name === 'appendFile' || name === 'writeFile' || name === 'cp') changes.push(['write', target]);
    return changes;
  }

  /** The path of a file, without symbolic links, in a directory that exists. */
  private async file(path: string): Promise<string> {
    return this.realpath(path).catch(async () => {
      await this.stat(posix.dirname(path));
      return this.entry(path);
    });
  }

  /** The path of an entry of a directory, without symbolic links before its name. */
  private async entry(path: string): Promise<string> {
    if (path === '/') return path;
    const parent = posix.dirname(path);
    return posix.join(await this.realpath(parent).catch(() => this.entry(parent)), posix.basename(path));
  }

  /** The bytes of all files. */
  get bytes(): number {
    return Number(this['retainedBytes']);
  }

  get isEmpty(): boolean {
    return !this.getAllPaths().some((path) => path.startsWith(`${DATA_PATH}/`));
  }

  /**
   * Lays out the image of a container that runs on these files for the first time.
   *
   * @param image.layer what {@link layerOf} returned for the container that the image was made of; empty: nothing
   */
  async begin(container: string, { programs, layer }: { programs: readonly string[]; layer: string }): Promise<void> {
    await this.rm('/proc', { recursive: true, force: true });
    for (const [path, text] of Object.entries(PROC)) this.writeFileSync(path, text);
    if (this.container === container) return;
    this.container = container;
    for (const parent of ['/', '/home']) {
      const paths = (await this.readdir(parent)).map((name) => posix.join(parent, name));
      for (const path of paths) if (!isKept(path)) await this.rm(path, { recursive: true });
    }
    for (const path of [...DIRECTORIES, ...MORE_DIRECTORIES]) this.mkdirSync(path, { recursive: true });
    for (const [path, text] of Object.entries(TEXTS)) this.writeFileSync(path, text);
    for (const name of programs) this.writeFileSync(`/usr/bin/${name}`, SIMULATED, undefined, { mode: 0o755 });
    for (const name of ['bin', 'sbin', 'lib']) await this.symlink(`usr/${name}`, `/${name}`);
    for (const path of ['/tmp', '/var/tmp']) await this.chmod(path, 0o1777);
    this.base = facts(await this.outside());
    const { removed, saved } = (layer === '' ? { removed: [], saved: [] } : JSON.parse(layer)) as Layer;
    for (const path of removed) await this.rm(path, { recursive: true, force: true });
    await this.restore(saved);
  }

  /** @returns what a container has changed outside the data volume, as text; null if it has not run on these files */
  async layerOf(container: string): Promise<string | null> {
    if (this.container !== container) return null;
    const files = await this.outside();
    const now = facts(files);
    const saved = files.filter(({ path }) => now.get(path) !== this.base.get(path));
    const removed = [...this.base.keys()].filter((path) => !now.has(path));
    return saved.length + removed.length === 0 ? '' : JSON.stringify({ removed, saved } satisfies Layer);
  }

  private async outside(): Promise<SavedFile[]> {
    const all = await this.save('');
    return all.filter(({ path }) => !isKept(path) && !/^\/(proc|home\/user)\//.test(path));
  }

  /** Everything below a directory, each after its parent. */
  async save(root: string): Promise<SavedFile[]> {
    const paths = this.getAllPaths().filter((path) => path.startsWith(`${root}/`));
    const saved = paths.sort().map(async (path): Promise<SavedFile> => {
      const { mode, mtime, isDirectory, isSymbolicLink } = await this.lstat(path);
      const facts = { path, mode, modifiedMs: mtime.getTime() };
      if (isSymbolicLink) return { ...facts, link: await this.readlink(path) };
      return isDirectory ? facts : { ...facts, data: Buffer.from(await this.readFileBuffer(path)).toString('base64') };
    });
    return Promise.all(saved);
  }

  /** @throws Errno `ENOSPC` */
  async restore(saved: readonly SavedFile[]): Promise<void> {
    for (const { path, mode, modifiedMs, data, link } of saved) {
      if (link !== undefined) await this.symlink(link, path);
      else if (data === undefined) await this.mkdir(path, { recursive: true });
      else await errnoOf(this.writeFile(path, Buffer.from(data, 'base64')));
      if (link !== undefined) continue;
      await this.chmod(path, mode & 0o7777);
      await this.utimes(path, new Date(modifiedMs), new Date(modifiedMs));
    }
  }
}

/** Everything but the times, by path. */
function facts(files: readonly SavedFile[]): Map<string, string> {
  return new Map(files.map(({ path, mode, data = null, link = null }) => [path, JSON.stringify([mode, data, link])]));
}

/** Whether a path is `/proc`, the data volume or one of its parents. */
function isKept(path: string): boolean {
  return path === '/proc' || DATA_PATH === path || DATA_PATH.startsWith(`${path}/`);
}
