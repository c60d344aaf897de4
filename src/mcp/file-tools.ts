import { Injectable } from '@nestjs/common';
import { isUtf8 } from 'node:buffer';
import { z } from 'zod';
import { ContainersService } from '../containers';
import { DomainError, invalidParameters } from '../errors';
import { FilesService } from '../sandbox';
import { ANSWER_CHARS, roomFor, textOf } from './answer-bounds';
import { MAX_CHARS, OFFSET } from './program-tools';
import { defineTool, PATH, SANDBOX, type Tool, type ToolCall } from './tool';

/** The largest file that is edited: it is held in memory several times. */
const MOST_EDITED = 1024 * 1024;

/** Entries that an answer lists. */
const FOUND = { usual: 100, max: 1_000 } as const;

const ENCODING = z.enum(['text', 'base64']);

const ENTRY = z.object({
  path: z.string(),
  size: z.number(),
  is_dir: z.boolean(),
  line: z.number().optional(),
  text: z.string().optional(),
});
type Entry = z.output<typeof ENTRY>;

/** Tools for the files of running sandboxes. */
@Injectable()
export class FileTools {
  constructor(
    private readonly containers: ContainersService,
    private readonly files: FilesService,
  ) {}

  readonly tools: readonly Tool[] = [
    defineTool({
      name: 'file_read',
      title: 'Read a file',
      description:
        'Read a file from a byte offset: as text, or Base64 if it is binary. next is the offset of the rest, null at ' +
        'the end. etag identifies this version, for file_write.',
      annotations: { readOnlyHint: true },
      input: {
        sandbox: SANDBOX,
        path: PATH,
        offset: OFFSET,
        length: z.int().min(1).max(ANSWER_CHARS.max).optional(),
        encoding: ENCODING.optional(),
        max_chars: MAX_CHARS,
      },
      output: {
        content: z.string(),
        encoding: ENCODING,
        size: z.number().nullable(),
        next: z.number().nullable(),
        etag: z.string(),
      },
      scopeOf: () => 'exec',
      auditOf: () => ({ action: 'container.file_read' }),
      run: async ({ sandbox, path, offset, encoding, ...asked }, call) => {
        const room = roomFor(asked.max_chars);
        const range = { offset, length: Math.min(asked.length ?? room, room) };
        const { data, size, etag } = await this.files.read(await this.at(sandbox, call), path, range);
        const isWhole = size === null ? data.length < range.length : offset + data.length >= size;
        const part = partOf(data, { encoding, room, isEnd: isWhole });
        const next = isWhole && part.bytes === data.length ? null : offset + part.bytes;
        return { content: part.content, encoding: part.encoding, size, next, etag };
      },
    }),
    defineTool({
      name: 'file_write',
      title: 'Write a file',
      description:
        'Create or replace a file with its parent directories. A request has at most 64 KiB; write more with ' +
        'command_run. With etag: only if the file is still that version. With create_only: only if there is none.',
      annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: true },
      input: {
        sandbox: SANDBOX,
        path: PATH,
        content: z.string(),
        encoding: ENCODING.default('text'),
        etag: z.string().max(100).optional(),
        create_only: z.boolean().default(false),
      },
      output: { path: z.string(), size: z.number(), created: z.boolean() },
      scopeOf: () => 'exec',
      auditOf: () => ({ action: 'container.file_write' }),
      run: async ({ sandbox, path, content, encoding, etag, create_only: isNew }, call) => {
        const data = Buffer.from(content, encoding === 'text' ? 'utf8' : 'base64');
        if (encoding === 'base64' && data.toString('base64') !== content.replace(/\s/g, '')) {
          throw invalidParameters([{ field: 'content', message: 'must be Base64 with padding' }]);
        }
        const headers = { ...(etag !== undefined && { 'if-match': etag }), ...(isNew && { 'if-none-match': '*' }) };
        const { file, became } = await this.files.put(await this.at(sandbox, call, headers), path, data);
        return { path: file.path, size: file.size, created: became === 'created' };
      },
    }),
    defineTool({
      name: 'file_edit',
      title: 'Edit a file',
      description:
        'Replace text in a text file. old_text must occur exactly once; include lines around it if needed. Fails if ' +
        'the file changes meanwhile.',
      annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false },
      input: { sandbox: SANDBOX, path: PATH, old_text: z.string().min(1), new_text: z.string() },
      output: { path: z.string(), size: z.number(), line: z.number() },
      scopeOf: () => 'exec',
      auditOf: () => ({ action: 'container.file_write' }),
      run: ({ sandbox, path, old_text: old, new_text: replacement }, call) =>
        this.edit(sandbox, call, { path, old, replacement }),
    }),
    defineTool({
      name: 'file_find',
      title: 'List or search files',
      description:
        'List a directory, or search below it: by a part of the name or a pattern (name), by text in lines ' +
        '(content), or both. complete: false means there is more: narrow the search, or pass next as cursor.',
      annotations: { readOnlyHint: true },
      input: {
        sandbox: SANDBOX,
        path: PATH.default('/home/user'),
        name: z.string().min(1).max(255).optional().describe('Such as *.ts'),
        content: z.string().min(1).max(1_000).optional(),
        limit: z.int().min(1).max(FOUND.max).default(FOUND.usual),
        cursor: z.string().max(400).optional().describe('Lists only'),
        max_chars: MAX_CHARS,
      },
      output: { entries: z.array(ENTRY), complete: z.boolean(), next: z.string().nullable() },
      scopeOf: () => 'exec',
      auditOf: ({ name, content }) => ({
        action: name === undefined && content === undefined ? 'container.file_list' : 'container.file_search',
      }),
      run: async ({ sandbox, path, name, content, limit, cursor, max_chars: most }, call) => {
        const at = await this.at(sandbox, call);
        const room = roomFor(most);
        if (name === undefined && content === undefined) return this.list(at, { path, limit, cursor, room });
        if (cursor !== undefined) throw invalidParameters([{ field: 'cursor', message: 'is only for lists' }]);
        const { files, complete } = await this.files.search(at, Buffer.from(path), { name, content, limit });
        const entries = fitting(files.map(entryOf), room);
        return { entries, complete: complete && entries.length === files.length, next: null };
      },
    }),
    defineTool({
      name: 'file_delete',
      title: 'Delete a file',
      description: 'Delete a file, or a directory; one that is not empty only with recursive.',
      annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: true },
      input: { sandbox: SANDBOX, path: PATH, recursive: z.boolean().default(false) },
      output: { deleted: z.string() },
      scopeOf: () => 'exec',
      auditOf: () => ({ action: 'container.file_delete' }),
      run: async ({ sandbox, path, recursive }, call) => {
        await this.files.remove(await this.at(sandbox, call), Buffer.from(path), { recursive });
        return { deleted: path };
      },
    }),
  ];

  /** Replaces the one occurrence of a text. @throws DomainError `precondition_failed` if the file changed meanwhile */
  private async edit(
    sandbox: string,
    call: ToolCall,
    { path, old, replacement }: { path: string; old: string; replacement: string },
  ) {
    const whole = { offset: 0, length: MOST_EDITED + 1 };
    const { data, etag } = await this.files.read(await this.at(sandbox, call), path, whole);
    if (data.length > MOST_EDITED) throw new DomainError('file_too_large', { fields: { limit: MOST_EDITED } });
    if (!isUtf8(data)) throw invalidParameters([{ field: 'path', message: 'must be a text file in UTF-8' }]);
    const text = data.toString();
    const at = text.indexOf(old);
    if (at < 0)
      throw invalidParameters([{ field: 'old_text', message: 'does not occur; read the file with file_read' }]);
    if (text.includes(old, at + 1)) {
      throw invalidParameters([{ field: 'old_text', message: 'occurs more than once; include more text around it' }]);
    }
    const changed = Buffer.from(text.slice(0, at) + replacement + text.slice(at + old.length));
    const { file } = await this.files.put(await this.at(sandbox, call, { 'if-match': etag }), path, changed);
    return { path: file.path, size: file.size, line: text.slice(0, at).split('\n').length };
  }

  private async list(
    at: FilesCall,
    { path, limit, cursor, room }: { path: string; limit: number; cursor: string | undefined; room: number },
  ) {
    // Names that need much room are rare, so the directory is mostly read once.
    for (let most = limit; ; most = Math.max(1, Math.floor(most / 2))) {
      const { files, next } = await this.files.list(at, Buffer.from(path), { limit: most, cursor });
      const entries = files.map(entryOf);
      if (most === 1 || fitting(entries, room).length === entries.length) {
        return { entries, complete: next === null, next };
      }
    }
  }

  /** @param headers conditions of a change */
  private async at(
    sandbox: string,
    { caller, signal }: ToolCall,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<FilesCall> {
    const { id } = await this.containers.findNamed(caller, sandbox);
    return { caller, id, gone: signal, request: { method: 'PUT', headers } };
  }
}

type FilesCall = Parameters<FilesService['read']>[0];

function entryOf({ path, size, is_dir: isDirectory, ...line }: Entry): Entry {
  const { line: number, text } = line;
  return Object.assign({ path, size, is_dir: isDirectory }, number !== undefined && { line: number, text: text ?? '' });
}

/** The first entries that need at most `room` characters. */
function fitting(entries: readonly Entry[], room: number): Entry[] {
  let used = 0;
  const over = entries.findIndex((entry) => (used += JSON.stringify(entry).length + 1) > room);
  return entries.slice(0, over < 0 ? undefined : over);
}

/** What an answer shows of bytes. */
interface Part {
  readonly content: string;
  readonly encoding: z.output<typeof ENCODING>;
  /** How many of the bytes are shown. */
  readonly bytes: number;
}

/** @param options.isEnd whether the bytes are the file's last ones */
function partOf(
  data: Buffer,
  { encoding, room, isEnd }: { encoding: Part['encoding'] | undefined; room: number; isEnd: boolean },
): Part {
  const { text, bytes } = textOf(data, { most: room, isEnd });
  const isText = isUtf8(data.subarray(0, bytes)) && !text.includes('\0') && (bytes > 0 || isEnd);
  if (encoding === 'text' ? bytes > 0 || isEnd : encoding === undefined && isText) {
    return { content: text, encoding: 'text', bytes };
  }
  const shown = data.subarray(0, Math.floor(room / 4) * 3);
  return { content: shown.toString('base64'), encoding: 'base64', bytes: shown.length };
}
