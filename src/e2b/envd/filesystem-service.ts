import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect';
import { Injectable } from '@nestjs/common';
import { type EngineFiles, EngineError, FILE_TYPE, type FileAttributes, type FilesCall, modeText } from '../../engine';
import { DomainError, invalidParameters } from '../../errors';
import { ContainerPath, FilesService } from '../../sandbox';
import { Accounts, homeOf } from './accounts';
import { callOf, type EnvdCall } from './envd-call';
import { DirectoryWatches } from './directory-watches';
import { type EntryInfoSchema, FileType, type Filesystem } from './generated/filesystem_pb';

type Entry = MessageInitShape<typeof EntryInfoSchema>;

/** Entries of one answer, and how deep a listing goes. */
const MOST_ENTRIES = 10_000;
const DEEPEST = 32;

const MODE_BITS = 0o7777;

/** envd's files: those of Berth, as the image's user sees them, with the names of users and the targets of links. */
@Injectable()
export class FilesystemService {
  constructor(
    private readonly files: FilesService,
    private readonly watches: DirectoryWatches,
  ) {}

  /** The handlers of the Connect service. All throw {@link DomainError}. */
  readonly handlers: ServiceImpl<typeof Filesystem> = {
    stat: async ({ path }, context) => ({ entry: await this.stat(context, path) }),
    makeDir: async ({ path }, context) => {
      const { call, target } = targetOf(context, path);
      const { path: made } = await this.files.makeDirectory(call, target.bytes);
      return { entry: await this.stat(context, made) };
    },
    move: async ({ source, destination }, context) => {
      const [from, to] = [
        pathIn(callOf(context), source, 'source'),
        pathIn(callOf(context), destination, 'destination'),
      ];
      const paths = { from: from.bytes, to: to.bytes };
      // As rename(2), which E2B calls: a file replaces another one.
      const options = { parents: true, replace: true };
      if (!from.isEntry || !to.isEntry) throw new DomainError('path_protected');
      await this.files.use(fileCall(context), (files, inside) => files.move(inside, paths, options));
      return { entry: await this.stat(context, to.text) };
    },
    listDir: async ({ path, depth }, context) => {
      const { call, target } = targetOf(context, path);
      if (depth > DEEPEST) throw invalidParameters([{ field: 'depth', message: `must be at most ${String(DEEPEST)}` }]);
      const entries = await this.files.use(call, (files, inside) =>
        new Reading(files, inside).list(target, Math.max(1, depth)),
      );
      return { entries };
    },
    remove: async ({ path }, context) => {
      const { call, target } = targetOf(context, path);
      await this.files.remove(call, target.bytes, { recursive: true }).catch(unlessMissing);
      return {};
    },
    watchDir: (request, context) => this.watches.stream(this.watchOf(request, context), context),
    createWatcher: async (request, context) => ({
      watcherId: await this.watches.create(this.watchOf(request, context)),
    }),
    getWatcherEvents: ({ watcherId }, context) => ({ events: this.watches.take(callOf(context), watcherId) }),
    removeWatcher: ({ watcherId }, context) => {
      this.watches.remove(callOf(context), watcherId);
      return {};
    },
  };

  private stat(context: HandlerContext, path: string): Promise<Entry> {
    const { call, target } = targetOf(context, path);
    return this.files.use(call, (files, inside) => new Reading(files, inside).entry(target));
  }

  private watchOf(
    { path, recursive, includeEntry }: { path: string; recursive: boolean; includeEntry: boolean },
    context: HandlerContext,
  ) {
    const call = callOf(context);
    return { call, path: pathIn(call, path, 'path'), recursive, entryOf: includeEntry ? entryIn : null };
  }
}

/** The entry at a path, or null if it is gone. */
export type EntryReader = (files: EngineFiles, inside: FilesCall, path: ContainerPath) => Promise<Entry | null>;

const entryIn: EntryReader = (files, inside, path) =>
  new Reading(files, inside).entry(path).catch((error: unknown) => {
    if (error instanceof EngineError && error.code === 'path_not_found') return null;
    throw error;
  });

/** Reads entries for one request. */
class Reading {
  private readonly accounts: Accounts;

  constructor(
    private readonly files: EngineFiles,
    private readonly inside: FilesCall,
  ) {
    this.accounts = new Accounts(files, inside);
  }

  async entry(path: ContainerPath): Promise<Entry> {
    return this.describe(path, await this.files.stat(this.inside, path.bytes, { follow: false }));
  }

  /** Lists a directory, and those below it down to `depth`, each before what is in it. */
  async list(directory: ContainerPath, depth: number): Promise<Entry[]> {
    const entries: Entry[] = [];
    await this.collect(directory, depth, entries);
    return entries;
  }

  private async collect(directory: ContainerPath, depth: number, into: Entry[]): Promise<void> {
    const found: { readonly name: Buffer; readonly attributes: FileAttributes }[] = [];
    const room = MOST_ENTRIES - into.length;
    await this.files.list(this.inside, directory.bytes, (name, attributes) => {
      if (found.length >= room) {
        const message = `there are more than ${String(MOST_ENTRIES)} entries: list a smaller directory or depth`;
        throw new ConnectError(message, Code.ResourceExhausted);
      }
      found.push({ name: Buffer.from(name, 'latin1'), attributes });
    });
    found.sort((one, other) => Buffer.compare(one.name, other.name));
    for (const { name, attributes } of found) {
      const path = directory.below(name);
      into.push(await this.describe(path, attributes));
      if (depth > 1 && isKind(attributes, FILE_TYPE.directory)) await this.collect(path, depth - 1, into);
    }
  }

  private async describe(path: ContainerPath, attributes: FileAttributes): Promise<Entry> {
    const { files, inside, accounts } = this;
    const isLink = isKind(attributes, FILE_TYPE.link);
    const [target, symlinkTarget] = isLink
      ? await Promise.all([
          // A link may lead nowhere.
          files.stat(inside, path.bytes, { follow: true }).catch(() => null),
          files.resolve(inside, path.bytes).then(String, () => ''),
        ])
      : [attributes, undefined];
    const { mode, size, uid, gid, modifiedAt } = attributes;
    const seconds = Math.floor(modifiedAt);
    return {
      name: path.base.toString() || '/',
      type: typeOf(target),
      path: path.text,
      size: BigInt(size),
      mode: mode & MODE_BITS,
      permissions: modeText(mode).replace(/^l/, 'L'),
      owner: await accounts.user(uid),
      group: await accounts.group(gid),
      modifiedTime: { seconds: BigInt(seconds), nanos: Math.floor((modifiedAt - seconds) * 1e9) },
      ...(symlinkTarget !== undefined && { symlinkTarget }),
    };
  }
}

function typeOf(attributes: FileAttributes | null): FileType {
  if (!attributes) return FileType.SYMLINK;
  if (isKind(attributes, FILE_TYPE.directory)) return FileType.DIRECTORY;
  return isKind(attributes, FILE_TYPE.regular) ? FileType.FILE : FileType.UNSPECIFIED;
}

function isKind({ mode }: FileAttributes, type: number): boolean {
  return (mode & FILE_TYPE.mask) === type;
}

/**
 * A path of E2B's clients, which may be relative to the user's home.
 *
 * @throws DomainError `invalid_parameters`
 */
export function pathIn({ user }: Pick<EnvdCall, 'user'>, path: string, field: string): ContainerPath {
  const home = homeOf(user);
  if (path.startsWith('/')) return ContainerPath.parse(path, field);
  return ContainerPath.parse(/^~(?=\/|$)/.test(path) ? `${home}${path.slice(1)}` : `${home}/${path}`, field);
}

function fileCall(context: HandlerContext) {
  const { principal, containerId } = callOf(context);
  return { caller: principal, id: containerId, gone: context.signal };
}

function targetOf(context: HandlerContext, path: string) {
  return { call: fileCall(context), target: pathIn(callOf(context), path, 'path') };
}

/** E2B's clients may delete what is not there. */
function unlessMissing(error: unknown): void {
  if (!(error instanceof DomainError) || error.kind !== 'path_not_found') throw error;
}
