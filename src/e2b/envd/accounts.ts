import type { EngineFiles, FilesCall } from '../../engine';

/** More than the accounts of any usual image; what is longer is cut. */
const MOST_BYTES = 64 * 1024;
const MOST_NAME = 64;

/** The names of users and groups as the container's own files tell them, read at most once. */
export class Accounts {
  private users: Promise<ReadonlyMap<number, string>> | undefined;
  private groups: Promise<ReadonlyMap<number, string>> | undefined;

  constructor(
    private readonly files: EngineFiles,
    private readonly inside: FilesCall,
  ) {}

  /** @returns the number as text if it has no name */
  async user(id: number): Promise<string> {
    this.users ??= this.read('/etc/passwd');
    return (await this.users).get(id) ?? String(id);
  }

  /** @returns the number as text if it has no name */
  async group(id: number): Promise<string> {
    this.groups ??= this.read('/etc/group');
    return (await this.groups).get(id) ?? String(id);
  }

  private async read(path: string): Promise<ReadonlyMap<number, string>> {
    // An image may have neither file.
    const part = { offset: 0, length: MOST_BYTES };
    const text = await this.files.readPart(this.inside, Buffer.from(path), part).catch(() => Buffer.alloc(0));
    const names = new Map<number, string>();
    for (const line of text.toString().split('\n')) {
      const [name = '', , id = ''] = line.split(':');
      if (/^\d{1,10}$/.test(id) && !names.has(Number(id))) names.set(Number(id), name.slice(0, MOST_NAME));
    }
    return names;
  }
}

/** Where a user's relative paths begin. Only `/home/user` is sure to exist; the image decides about others. */
export function homeOf(user: string | undefined): string {
  if (user === undefined) return '/home/user';
  return user === 'root' ? '/root' : `/home/${user}`;
}
