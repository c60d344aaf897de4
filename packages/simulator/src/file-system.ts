import { posix } from 'node:path';
import { Errno } from './errno';
import { DirectoryNode, FileNode, LinkNode, type Node, type Owner } from './file-tree';

/** Who asks: paths begin in `cwd`, and what may be done depends on whose a file is. */
export interface Actor extends Owner {
  readonly cwd: string;
}

/** Where a path leads. */
export interface Place {
  readonly directory: DirectoryNode;
  /** Empty for the root. */
  readonly name: string;
  readonly node: Node | null;
  /** Without links, `.` and `..`. */
  readonly path: string;
}

const MOST_LINKS = 40;
const MOST_NAME = 255;

/** The files of one container: its image's, its own, and its volume. */
export class FileSystem {
  constructor(readonly root: DirectoryNode) {}

  /** @throws Errno where a directory on the way is none, or may not be searched */
  place(actor: Actor, path: string, { follow = true }: { follow?: boolean } = {}): Place {
    if (path === '') throw new Errno('ENOENT');
    const stack: { readonly name: string; readonly node: DirectoryNode }[] = [];
    const here = (): DirectoryNode => stack.at(-1)?.node ?? this.root;
    const parts = partsOf(path.startsWith('/') ? path : `${actor.cwd}/${path}`);
    const mustBeDirectory = path.endsWith('/');
    let links = 0;
    while (parts.length > 0) {
      const part = parts.shift() ?? '';
      if (part.length > MOST_NAME) throw new Errno('ENAMETOOLONG');
      if (!may(actor, here(), 1)) throw new Errno('EACCES');
      if (part === '.') continue;
      if (part === '..') {
        stack.pop();
        continue;
      }
      const node = here().get(part);
      const isLast = parts.length === 0;
      if (node?.kind === 'link' && (!isLast || follow || mustBeDirectory)) {
        links += 1;
        if (links > MOST_LINKS) throw new Errno('ELOOP');
        if (node.target.startsWith('/')) stack.length = 0;
        parts.unshift(...partsOf(node.target));
        continue;
      }
      if (isLast) {
        if (node?.kind !== 'directory') {
          if (node && mustBeDirectory) throw new Errno('ENOTDIR');
          return { directory: here(), name: part, node, path: pathOf(stack, part) };
        }
      } else if (!node) throw new Errno('ENOENT');
      if (node.kind !== 'directory') throw new Errno('ENOTDIR');
      stack.push({ name: part, node });
    }
    const last = stack.pop();
    if (!last) return { directory: this.root, name: '', node: this.root, path: '/' };
    return { directory: here(), name: last.name, node: last.node, path: pathOf(stack, last.name) };
  }

  /** @throws Errno `ENOENT` and as {@link place} does */
  node(actor: Actor, path: string, options: { follow?: boolean } = {}): Node {
    const { node } = this.place(actor, path, options);
    if (!node) throw new Errno('ENOENT');
    return node;
  }

  directory(actor: Actor, path: string): DirectoryNode {
    const node = this.node(actor, path);
    if (node.kind !== 'directory') throw new Errno('ENOTDIR');
    return node;
  }

  /** The entries' names, in order. @throws Errno */
  list(actor: Actor, path: string): string[] {
    const directory = this.directory(actor, path);
    if (!may(actor, directory, 4)) throw new Errno('EACCES');
    return directory.names();
  }

  exists(actor: Actor, path: string, options: { follow?: boolean } = {}): boolean {
    try {
      return this.place(actor, path, options).node !== null;
    } catch {
      return false;
    }
  }

  /** A file to be written; made if it is not there. @throws Errno */
  open(actor: Actor, path: string, { create = false, truncate = false, write = false } = {}): Exclude<Node, LinkNode> {
    const { directory, name, node } = this.place(actor, path);
    if (node) {
      if (node.kind === 'directory' && write) throw new Errno('EISDIR');
      if (node.kind === 'link') throw new Errno('ELOOP');
      if (!may(actor, node, write ? 2 : 4)) throw new Errno('EACCES');
      if (truncate && node.kind === 'file') node.resize(0);
      return node;
    }
    if (!create) throw new Errno('ENOENT');
    assertMayChange(actor, directory);
    const file = new FileNode({ mode: 0o644, uid: actor.uid, gid: actor.gid }, directory.space);
    directory.set(name, file);
    return file;
  }

  /** @throws Errno `EEXIST` */
  makeDirectory(actor: Actor, path: string, { mode = 0o755, parents = false } = {}): void {
    if (parents) {
      const above = posix.dirname(path.replace(/\/+$/, '') || '/');
      if (above !== '/' && above !== '.' && !this.exists(actor, above)) this.makeDirectory(actor, above, { parents });
    }
    const { directory, name, node } = this.place(actor, path);
    if (node) {
      if (parents && node.kind === 'directory') return;
      throw new Errno('EEXIST');
    }
    assertMayChange(actor, directory);
    directory.set(name, new DirectoryNode({ mode, uid: actor.uid, gid: actor.gid }, directory.space));
  }

  link(actor: Actor, target: string, path: string): void {
    const { directory, name, node } = this.place(actor, path, { follow: false });
    if (node) throw new Errno('EEXIST');
    assertMayChange(actor, directory);
    directory.set(name, new LinkNode(target, actor));
  }

  /** Another name of the same file. */
  hardLink(actor: Actor, from: string, path: string): void {
    const source = this.node(actor, from, { follow: false });
    if (source.kind === 'directory') throw new Errno('EPERM');
    const { directory, name, node } = this.place(actor, path, { follow: false });
    if (node) throw new Errno('EEXIST');
    assertMayChange(actor, directory);
    directory.set(name, source);
  }

  /** A file or a link. @throws Errno `EISDIR` */
  unlink(actor: Actor, path: string): void {
    const { directory, name, node } = this.place(actor, path, { follow: false });
    if (!node) throw new Errno('ENOENT');
    if (node.kind === 'directory') throw new Errno('EISDIR');
    assertMayChange(actor, directory);
    directory.drop(name);
  }

  /** @throws Errno `ENOTEMPTY`, `EBUSY` for what something is mounted in */
  removeDirectory(actor: Actor, path: string): void {
    const { directory, name, node } = this.place(actor, path, { follow: false });
    if (!node) throw new Errno('ENOENT');
    if (node.kind !== 'directory') throw new Errno('ENOTDIR');
    if (name === '' || node.isMount) throw new Errno('EBUSY');
    if (!node.isEmpty) throw new Errno('ENOTEMPTY');
    assertMayChange(actor, directory);
    directory.drop(name);
  }

  /** Puts it in the place of what is there, if that is no directory with something in it. @throws Errno */
  rename(actor: Actor, from: string, to: string): void {
    const source = this.place(actor, from, { follow: false });
    const target = this.place(actor, to, { follow: false });
    if (!source.node) throw new Errno('ENOENT');
    if (source.node === target.node) return;
    if (source.name === '' || target.name === '') throw new Errno('EBUSY');
    if (source.node.kind === 'directory') {
      if (`${target.path}/`.startsWith(`${source.path}/`)) throw new Errno('EINVAL');
      if (source.node.isMount) throw new Errno('EBUSY');
      if (target.node && target.node.kind !== 'directory') throw new Errno('ENOTDIR');
    } else if (target.node?.kind === 'directory') throw new Errno('EISDIR');
    if (target.node?.kind === 'directory' && !target.node.isEmpty) throw new Errno('ENOTEMPTY');
    assertMayChange(actor, source.directory);
    assertMayChange(actor, target.directory);
    const moved =
      source.directory.space === target.directory.space ? source.node : taken(source.node, target.directory);
    source.directory.take(source.name);
    target.directory.set(target.name, moved);
  }
}

/** @param bits of 4 (read), 2 (write) and 1 (search, execute) */
export function may({ uid, gid }: Owner, node: Node, bits: number): boolean {
  if (uid === 0) return true;
  const shift = node.uid === uid ? 6 : node.gid === gid ? 3 : 0;
  return ((node.mode >> shift) & bits) === bits;
}

function assertMayChange(actor: Actor, directory: DirectoryNode): void {
  if (!may(actor, directory, 3)) throw new Errno('EACCES');
}

/** What goes to another space, with all that is in it. */
function taken(node: Node, { space }: DirectoryNode): Node {
  if (node.kind === 'file') node.moveTo(space);
  if (node.kind !== 'directory') return node;
  const copy = new DirectoryNode(node, space);
  for (const name of node.names()) {
    const inner = node.take(name);
    if (inner) copy.set(name, taken(inner, copy));
  }
  return copy;
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '');
}

function pathOf(stack: readonly { readonly name: string }[], name: string): string {
  return `/${[...stack.map((each) => each.name), name].join('/')}`;
}
