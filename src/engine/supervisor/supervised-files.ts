import { Readable } from 'node:stream';
import { z } from 'zod';
import { EngineError } from '../port/engine-error';
import type {
  AttributeChange,
  EngineFiles,
  FileAttributes,
  FileChange,
  FileContent,
  FileSearch,
  FilesCall,
  FileState,
  FoundFile,
  FileSystemSpace,
  OpenFile,
} from '../port/engine-files';
import { type SupervisorRequest, wireBytes } from './channel';
import { ANY_ANSWER, type Shape } from './channel-stream';
import { FileOperation } from './file-operation';
import type { SandboxChannels } from './sandbox-channels';

/** The limits of operations that may work for long without a word, in milliseconds. */
const LIST_MS = 120_000;
const WORK_MS = 15 * 60_000;
/** How long the supervisor may count what a directory takes, and search in it. */
const USAGE_SECONDS = 30;
const SEARCH_SECONDS = 20;

/** Files up to this size come with the answer that describes them, in bytes. */
const INLINE_BYTES = 64 * 1024;
/** Maximum bytes of an archive, and of a file: more than a container's disk holds. */
const MOST_PACKED = 2 ** 40;
/** The protocol's bound on the entries of a directory. */
const MOST_LISTED = 1_000_000;
const LONGEST_NAME = 255;
const LONGEST_PATH = 4096;
const LONGEST_LINE = 256;
const LATEST_SECONDS = 8_640_000_000_000;

/** A count, or a number of bytes, of 64 bits: larger ones than JavaScript's integers are cut. */
const count = z
  .number()
  .min(0)
  .transform((value) => Math.min(Math.trunc(value), Number.MAX_SAFE_INTEGER));
/** Times that JavaScript's dates cannot have are cut. */
const seconds = z.number().transform((value) => Math.max(-LATEST_SECONDS, Math.min(Math.trunc(value), LATEST_SECONDS)));

const wireAttributes = z.object({
  mode: z.uint32(),
  size: count,
  uid: z.uint32(),
  gid: z.uint32(),
  atime: seconds,
  mtime: seconds,
});
const attributes = wireAttributes.transform(attributesOf);
const state = wireAttributes
  .extend({ version: z.string().max(80) })
  .transform((wire): FileState => Object.assign(attributesOf(wire), { version: wire.version }));

const row = wireAttributes
  .extend({ name: wireBytes.refine(isName) })
  .transform((wire) => ({ name: wire.name.toString('latin1'), attributes: attributesOf(wire) }));

const found = z
  .object({
    path: wireBytes.refine(isBelow),
    mode: z.uint32(),
    size: count,
    line: z.int().min(1).optional(),
    text: wireBytes.refine((text) => text.length <= LONGEST_LINE).optional(),
  })
  .transform(({ path, mode, size, line, text }): FoundFile => ({
    path,
    mode,
    size,
    line: line === undefined ? null : { number: line, text: text ?? Buffer.alloc(0) },
  }));

const opened = z.object({ state });
const writing = z.object({ at: z.enum(['file', 'directory']), state: state.nullable() });
const written = z.object({ became: z.enum(['created', 'replaced']), at: z.enum(['file', 'directory']), state });
const removing = z.object({ state: state.nullable() });
const unpacked = z.object({ entries: count, bytes: count });
const link = z.object({ target: wireBytes.refine((target) => target.length <= LONGEST_PATH) });
const resolved = z.object({
  path: wireBytes.refine((path) => path[0] === 0x2f && path.length <= LONGEST_PATH && !path.includes(0)),
});
/** By the supervisor's words; `changed` is one of Berth 0.7.0, which also says `removed` for a rename. */
const CHANGES = {
  created: 'create',
  written: 'write',
  changed: 'write',
  removed: 'remove',
  renamed: 'rename',
  attributes: 'chmod',
} as const;
const change = z.union([
  z
    .object({ path: wireBytes.refine(isBelow), change: z.enum(Object.keys(CHANGES) as (keyof typeof CHANGES)[]) })
    .transform((wire): FileChange => ({ type: CHANGES[wire.change], path: wire.path })),
  z
    .object({ change: z.literal('overflow') })
    .transform((): FileChange => ({ type: 'overflow', path: Buffer.alloc(0) })),
]);

const searched = z.object({ complete: z.boolean() });
const usage = z.object({ bytes: count, complete: z.boolean() });
const space = z
  .object({
    block_size: count,
    blocks: count,
    free_blocks: count,
    available_blocks: count,
    files: count,
    free_files: count,
    longest_name: count,
  })
  .transform((wire): FileSystemSpace => ({
    blockSize: wire.block_size,
    blocks: wire.blocks,
    freeBlocks: wire.free_blocks,
    availableBlocks: wire.available_blocks,
    files: wire.files,
    freeFiles: wire.free_files,
    longestName: wire.longest_name,
  }));

/**
 * Files in containers, by the supervisors in their sandboxes. The methods of {@link EngineFiles} are documented there.
 * The supervisors' answers are checked: one of another shape closes the channel with `container_not_responding`.
 */
export class SupervisedFiles implements EngineFiles {
  constructor(private readonly channels: Pick<SandboxChannels, 'open'>) {}

  stat(call: FilesCall, path: Buffer, { follow }: { readonly follow: boolean }): Promise<FileAttributes> {
    return this.ask(call, { op: 'stat', path: encode(path), follow }, attributes);
  }

  async open(call: FilesCall, path: Buffer): Promise<OpenFile> {
    const request = { op: 'read', path: encode(path), inline: INLINE_BYTES };
    const operation = await FileOperation.begin(this.channels, call, { request, input: false });
    try {
      const { state: found } = await operation.message(opened);
      return new SupervisedFile(operation, found);
    } catch (error) {
      operation.end();
      throw error;
    }
  }

  async write(call: FilesCall, file: FileContent): ReturnType<EngineFiles['write']> {
    const { path, nameInDirectory, length, decide } = file;
    const name = nameInDirectory ? encode(nameInDirectory) : undefined;
    const request = { op: 'write', path: encode(path), name, conditional: decide !== null, length };
    return this.during(call, { request, input: true }, async (operation) => {
      if (decide) {
        const before = await operation.message(writing);
        if (!decide(before.state, before.at)) throw refused();
        operation.stream.send({ go: true });
      }
      await operation.feed(file.content, file.onBytes);
      const { became, at, state: now } = await operation.done(written, WORK_MS);
      return { became, at, attributes: now };
    });
  }

  async list(call: FilesCall, path: Buffer, take: (name: string, found: FileAttributes) => void): Promise<void> {
    await this.during(call, { request: { op: 'list', path: encode(path) } }, async (operation) => {
      const taking = async (): Promise<void> => {
        for await (const rows of operation.stream.rows(row, MOST_LISTED)) {
          for (const { name, attributes: found } of rows) take(name, found);
        }
        await operation.done(ANY_ANSWER);
      };
      await operation.within(taking(), LIST_MS);
    });
  }

  makeDirectory(
    call: FilesCall,
    path: Buffer,
    { parents, mode }: { readonly parents: boolean; readonly mode?: number | undefined },
  ): Promise<FileAttributes> {
    return this.ask(call, { op: 'mkdir', path: encode(path), parents, mode }, attributes);
  }

  move(
    call: FilesCall,
    { from, to }: { readonly from: Buffer; readonly to: Buffer },
    { parents, replace }: { readonly parents: boolean; readonly replace: boolean },
  ): Promise<FileAttributes> {
    const request = { op: 'move', from: encode(from), to: encode(to), parents, replace };
    return this.ask(call, request, attributes, WORK_MS);
  }

  async remove(
    call: FilesCall,
    path: Buffer,
    { kind, recursive, decide }: Parameters<EngineFiles['remove']>[2],
  ): Promise<void> {
    const request = { op: 'remove', path: encode(path), kind, recursive, conditional: decide !== null };
    await this.during(call, { request }, async (operation) => {
      if (decide) {
        const before = await operation.message(removing);
        if (!decide(before.state, 'file')) throw refused();
        operation.stream.send({ go: true });
      }
      await operation.done(ANY_ANSWER, WORK_MS);
    });
  }

  async pack(call: FilesCall, path: Buffer, onBytes: (bytes: number) => void): Promise<Readable> {
    const request = { op: 'pack', path: encode(path) };
    const operation = await FileOperation.begin(this.channels, call, { request, input: false });
    try {
      await operation.message(ANY_ANSWER);
      return operation.readable({ length: null, most: MOST_PACKED, onBytes });
    } catch (error) {
      operation.end();
      throw error;
    }
  }

  unpack(
    call: FilesCall,
    path: Buffer,
    { content, onBytes }: Pick<FileContent, 'content' | 'onBytes'>,
  ): ReturnType<EngineFiles['unpack']> {
    const request = { op: 'unpack', path: encode(path) };
    return this.during(call, { request, input: true }, async (operation) => {
      await operation.feed(content, onBytes);
      return operation.done(unpacked, WORK_MS);
    });
  }

  async create(
    call: FilesCall,
    path: Buffer,
    { existing, mode }: { readonly existing: 'keep' | 'empty' | 'refuse'; readonly mode: number | undefined },
  ): Promise<void> {
    await this.ask(call, { op: 'create', path: encode(path), existing, mode }, ANY_ANSWER);
  }

  readPart(
    call: FilesCall,
    path: Buffer,
    { offset, length }: { readonly offset: number; readonly length: number },
  ): Promise<Buffer> {
    const request = { op: 'pread', path: encode(path), offset, length };
    return this.during(call, { request }, (operation) => operation.collect(length));
  }

  async writePart(
    call: FilesCall,
    path: Buffer,
    { offset, data }: { readonly offset: number; readonly data: Buffer },
  ): Promise<void> {
    const request = { op: 'pwrite', path: encode(path), offset };
    await this.during(call, { request, input: true }, async (operation) => {
      await operation.send(data);
      operation.stream.end();
      await operation.done(ANY_ANSWER);
    });
  }

  async truncate(call: FilesCall, path: Buffer, size: number): Promise<void> {
    await this.ask(call, { op: 'truncate', path: encode(path), size }, ANY_ANSWER);
  }

  async change(call: FilesCall, path: Buffer, { mode, owner, times }: AttributeChange): Promise<void> {
    const request = {
      op: 'change',
      path: encode(path),
      mode,
      uid: owner?.uid,
      gid: owner?.gid,
      atime: times?.accessedAt,
      mtime: times?.modifiedAt,
    };
    await this.ask(call, request, ANY_ANSWER);
  }

  async readLink(call: FilesCall, path: Buffer): Promise<Buffer> {
    return (await this.ask(call, { op: 'readlink', path: encode(path) }, link)).target;
  }

  async makeLink(
    call: FilesCall,
    { path, target, kind }: { readonly path: Buffer; readonly target: Buffer; readonly kind: 'hard' | 'symbolic' },
  ): Promise<void> {
    await this.ask(call, { op: 'link', path: encode(path), target: encode(target), kind }, ANY_ANSWER);
  }

  async resolve(call: FilesCall, path: Buffer): Promise<Buffer> {
    return (await this.ask(call, { op: 'resolve', path: encode(path) }, resolved)).path;
  }

  space(call: FilesCall, path: Buffer): Promise<FileSystemSpace> {
    return this.ask(call, { op: 'space', path: encode(path) }, space);
  }

  search(
    call: FilesCall,
    path: Buffer,
    { name, content, limit }: FileSearch,
  ): Promise<{ found: FoundFile[]; isComplete: boolean }> {
    const request = { op: 'search', path: encode(path), pattern: name, content, limit, seconds: SEARCH_SECONDS };
    return this.during(call, { request }, async (operation) => {
      const all: FoundFile[] = [];
      const taking = async (): Promise<{ complete: boolean }> => {
        for await (const rows of operation.stream.rows(found, limit)) all.push(...rows);
        return operation.done(searched);
      };
      const { complete } = await operation.within(taking());
      return { found: all, isComplete: complete };
    });
  }

  async usage(call: FilesCall, path: Buffer): Promise<{ bytes: number; isComplete: boolean }> {
    const request = { op: 'usage', path: encode(path), seconds: USAGE_SECONDS };
    const { bytes, complete } = await this.ask(call, request, usage);
    return { bytes, isComplete: complete };
  }

  async watch(
    call: FilesCall,
    path: Buffer,
    { recursive }: { readonly recursive: boolean },
  ): Promise<AsyncIterableIterator<readonly FileChange[]>> {
    const request = { op: 'watch', path: encode(path), recursive };
    const operation = await FileOperation.begin(this.channels, call, { request, input: false });
    try {
      await operation.message(ANY_ANSWER);
    } catch (error) {
      operation.end();
      throw error;
    }
    const rows = changesOf(operation, call.signal);
    const changes: AsyncIterableIterator<readonly FileChange[]> = {
      next: () => rows.next(),
      // A generator that has not begun runs none of its own code at its end.
      return: async () => {
        operation.end();
        await rows.return();
        return { value: undefined, done: true };
      },
      [Symbol.asyncIterator]: () => changes,
    };
    return changes;
  }

  private ask<T>(call: FilesCall, request: SupervisorRequest, shape: Shape<T>, ms?: number): Promise<T> {
    return this.during(call, { request }, (operation) => operation.done(shape, ms));
  }

  /** Runs `work` with an operation, which ends with it. */
  private async during<T>(
    call: FilesCall,
    { request, input = false }: { request: SupervisorRequest; input?: boolean },
    work: (operation: FileOperation) => Promise<T>,
  ): Promise<T> {
    const operation = await FileOperation.begin(this.channels, call, { request, input });
    try {
      return await work(operation);
    } catch (error) {
      throw call.signal.aborted ? call.signal.reason : error;
    } finally {
      operation.end();
    }
  }
}

async function* changesOf(operation: FileOperation, signal: AbortSignal): AsyncGenerator<readonly FileChange[], void> {
  try {
    yield* operation.stream.rows(change, Infinity);
    await operation.done(ANY_ANSWER);
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    operation.end();
  }
}

/** A file that a supervisor has opened. The content of a small one has been sent already. */
class SupervisedFile implements OpenFile {
  constructor(
    private readonly operation: FileOperation,
    readonly state: FileState,
  ) {}

  async range(
    { offset, length }: { readonly offset: number; readonly length: number },
    onBytes: (bytes: number) => void,
  ): Promise<Readable> {
    const { operation } = this;
    const { size } = this.state;
    if (size > 0 && size <= INLINE_BYTES) {
      const whole = await operation.collect(size);
      if (whole.length < size) throw new EngineError('tools_failed', 'the file has become shorter');
      onBytes(length);
      return Readable.from([whole.subarray(offset, offset + length)]);
    }
    operation.stream.send({ offset, length });
    const readable = operation.readable({ length, most: length, onBytes });
    await operation.hasBytes(readable);
    return readable;
  }

  beginning(most: number): Promise<Buffer> {
    this.operation.stream.send({ most });
    return this.operation.collect(most);
  }

  close(): void {
    this.operation.end();
  }
}

function encode(path: Buffer): string {
  return path.toString('base64');
}

function attributesOf(wire: {
  mode: number;
  size: number;
  uid: number;
  gid: number;
  atime: number;
  mtime: number;
}): FileAttributes {
  const { mode, size, uid, gid, atime, mtime } = wire;
  return { mode, size, uid, gid, accessedAt: atime, modifiedAt: mtime };
}

/** Whether a directory can have an entry of this name. */
function isName(name: Buffer): boolean {
  const text = name.toString('latin1');
  return name.length > 0 && name.length <= LONGEST_NAME && !/[/\0]/.test(text) && text !== '.' && text !== '..';
}

/** Whether a path leads below a directory, by its text. */
function isBelow(path: Buffer): boolean {
  return (
    path.length <= LONGEST_PATH &&
    path
      .toString('latin1')
      .split('/')
      .every((part) => isName(Buffer.from(part, 'latin1')))
  );
}

function refused(): EngineError {
  return new EngineError('precondition_failed', 'the file is not in the state in which it may be changed');
}
