import { Errno } from './errno';

/** What files may take together; what is within another takes of that too. */
export class Space {
  private taken = 0;
  /** A file or a directory in it was changed. */
  onChange: () => void = () => undefined;

  /** @param limit in bytes */
  constructor(
    public limit: number,
    private readonly within: Space | null = null,
  ) {}

  get used(): number {
    return this.taken;
  }

  /** @throws Errno `ENOSPC` */
  take(bytes: number): void {
    if (bytes > 0 && this.taken + bytes > this.limit) throw new Errno('ENOSPC');
    this.within?.take(bytes);
    this.taken += bytes;
  }

  give(bytes: number): void {
    this.taken -= bytes;
    this.within?.give(bytes);
  }
}

/** Whose a file is. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

interface Facts extends Owner {
  /** Permission bits. */
  readonly mode: number;
}

/** What an entry takes beside its content. */
const ENTRY_BYTES = 256;

abstract class BaseNode {
  mode: number;
  uid: number;
  gid: number;
  modifiedMs = Date.now();

  constructor({ mode, uid, gid }: Facts) {
    this.mode = mode;
    this.uid = uid;
    this.gid = gid;
  }
}

/** A regular file. Its names and what it holds are bytes; texts in here have one character for each byte. */
export class FileNode extends BaseNode {
  readonly kind = 'file';
  /** It is a program that is simulated, by its name; what it holds is then of no meaning. */
  program: string | null = null;
  /** Of how many directories it is an entry. */
  links = 0;
  private data: Buffer = Buffer.alloc(0);
  private length = 0;

  constructor(
    facts: Facts,
    private space: Space,
  ) {
    super(facts);
    space.take(ENTRY_BYTES);
  }

  get size(): number {
    return this.length;
  }

  read(offset: number, length: number): Buffer {
    return Buffer.from(this.data.subarray(Math.min(offset, this.length), Math.min(offset + length, this.length)));
  }

  text(): string {
    return this.data.toString('latin1', 0, this.length);
  }

  /** @throws Errno `ENOSPC` */
  write(offset: number, data: Buffer): void {
    this.resize(Math.max(this.length, offset + data.length));
    data.copy(this.data, offset);
    this.modifiedMs = Date.now();
    this.space.onChange();
  }

  /** @throws Errno `ENOSPC` */
  resize(length: number): void {
    if (length > this.length) this.space.take(length - this.length);
    else this.space.give(this.length - length);
    if (length > this.data.length) {
      const larger = Buffer.alloc(Math.max(length, Math.min(this.data.length * 2, this.data.length + 2 ** 22)));
      this.data.copy(larger, 0, 0, this.length);
      this.data = larger;
    }
    if (length < this.length) this.data.fill(0, length, this.length);
    this.length = length;
    this.modifiedMs = Date.now();
    this.space.onChange();
  }

  /** It goes to where another limit is. @throws Errno `ENOSPC` */
  moveTo(space: Space): void {
    space.take(this.length + ENTRY_BYTES);
    this.space.give(this.length + ENTRY_BYTES);
    this.space = space;
  }

  /** @throws Errno `ENOSPC` */
  copy(space: Space): FileNode {
    const copy = new FileNode(this, space);
    copy.write(0, this.read(0, this.length));
    copy.program = this.program;
    copy.modifiedMs = this.modifiedMs;
    return copy;
  }

  /** Its last name is gone. */
  release(): void {
    this.space.give(this.length + ENTRY_BYTES);
    this.length = 0;
    this.data = Buffer.alloc(0);
    this.space = new Space(Number.MAX_SAFE_INTEGER);
  }
}

/** A file whose content is made when it is read, as the kernel's own are, and which takes what is written. */
export class MadeNode extends BaseNode {
  readonly kind = 'made';

  constructor(
    readonly make: () => string,
    { mode = 0o444, device = false }: { mode?: number; device?: boolean } = {},
  ) {
    super({ mode, uid: 0, gid: 0 });
    this.device = device;
  }

  readonly device: boolean;
}

export class LinkNode extends BaseNode {
  readonly kind = 'link';

  constructor(
    readonly target: string,
    owner: Owner,
  ) {
    super({ mode: 0o777, ...owner });
  }
}

export class DirectoryNode extends BaseNode {
  readonly kind: 'directory' = 'directory' as const;
  protected readonly entries = new Map<string, Node>();
  /** Something is mounted here: it cannot be moved or removed. */
  isMount = false;

  constructor(
    facts: Facts,
    readonly space: Space,
  ) {
    super(facts);
  }

  get(name: string): Node | null {
    return this.entries.get(name) ?? null;
  }

  names(): string[] {
    return [...this.entries.keys()].sort((one, other) => (one < other ? -1 : 1));
  }

  get isEmpty(): boolean {
    return this.names().length === 0;
  }

  /** @throws Errno `ENOSPC` */
  set(name: string, node: Node): void {
    const former = this.entries.get(name);
    if (former === node) return;
    if (former) this.drop(name);
    if (node.kind === 'file') node.links += 1;
    this.entries.set(name, node);
    this.modifiedMs = Date.now();
    this.space.onChange();
  }

  /** Takes an entry out; a file without another name is gone. */
  drop(name: string): void {
    const node = this.take(name);
    if (node?.kind === 'file' && node.links === 0) node.release();
    if (node?.kind === 'directory') for (const inner of node.names()) node.drop(inner);
  }

  /** Takes an entry out, to be put in elsewhere. */
  take(name: string): Node | null {
    const node = this.entries.get(name) ?? null;
    this.entries.delete(name);
    if (node?.kind === 'file') node.links -= 1;
    this.modifiedMs = Date.now();
    this.space.onChange();
    return node;
  }
}

/** A directory whose entries are made when they are looked for. */
export class MadeDirectory extends DirectoryNode {
  constructor(private readonly made: { names: () => string[]; get: (name: string) => Node | null }) {
    super({ mode: 0o555, uid: 0, gid: 0 }, new Space(0));
  }

  override get(name: string): Node | null {
    return this.made.get(name);
  }

  override names(): string[] {
    return this.made.names();
  }

  override set(): void {
    throw new Errno('EPERM');
  }

  override drop(): void {
    throw new Errno('EPERM');
  }

  override take(): never {
    throw new Errno('EPERM');
  }
}

export type Node = FileNode | MadeNode | LinkNode | DirectoryNode;

/** What a node is and what may be done with it, as `ls -l` shows it. */
export function modeText({ kind, mode, ...rest }: Pick<Node, 'kind' | 'mode'> & { device?: boolean }): string {
  const type =
    kind === 'made' && rest.device === true ? 'c' : { file: '-', made: '-', link: 'l', directory: 'd' }[kind];
  const bits = [6, 3, 0].map((shift) => {
    const three = (mode >> shift) & 7;
    return `${three & 4 ? 'r' : '-'}${three & 2 ? 'w' : '-'}${three & 1 ? 'x' : '-'}`;
  });
  const sticky = mode & 0o1000 ? `${bits.join('').slice(0, 8)}${mode & 1 ? 't' : 'T'}` : bits.join('');
  return `${type}${sticky}`;
}

/** In bytes, as `stat` shows it. */
export function sizeOf(node: Node): number {
  switch (node.kind) {
    case 'file':
      return node.size;
    case 'link':
      return node.target.length;
    case 'directory':
      return 4096;
    case 'made':
      return 0;
  }
}
