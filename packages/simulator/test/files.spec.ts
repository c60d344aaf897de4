import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { type Headers, pack } from 'tar-stream';
import type { FileAttributes, FileChange, FileContent, FilesCall } from '../../../src/engine';
import { ContainerFiles } from '../src/files';
import { SimulatedFiles } from '../src/simulated-files';

const MOST_BYTES = 1_000_000;
const call: FilesCall = { engineId: 'id', signal: new AbortController().signal };
const path = (text: string): Buffer => Buffer.from(`/home/user/${text}`);

let over: AbortController;
let memory: ContainerFiles;
let files: SimulatedFiles;

beforeEach(async () => {
  over = new AbortController();
  memory = new ContainerFiles({ maxBytes: MOST_BYTES, mayGrow: () => true, onChange: () => undefined });
  files = new SimulatedFiles(
    () => Promise.resolve(memory),
    MOST_BYTES,
    () => over.signal,
  );
  await memory.begin('id', { programs: [], layer: '' });
});

function content(text: string, more: Partial<FileContent> = {}): FileContent {
  return {
    path: path('a/file'),
    nameInDirectory: null,
    content: Readable.from([Buffer.from(text)]),
    onBytes: () => undefined,
    length: undefined,
    decide: null,
    ...more,
  };
}

async function read(name: string): Promise<string> {
  const file = await files.open(call, path(name));
  const bytes = { offset: 0, length: file.state.size };
  return (await buffer(await file.range(bytes, () => undefined))).toString();
}

async function packed(...entries: readonly (readonly [Headers, string?])[]): Promise<{ content: Readable }> {
  const archive = pack();
  for (const [header, text = ''] of entries) archive.entry(header, text);
  archive.finalize();
  return { content: Readable.from([await buffer(archive)]) };
}

describe('the files of a simulated container', () => {
  it('are written, described, listed, moved and removed', async () => {
    const made = await files.write(call, content('one'));
    expect(made).toMatchObject({ became: 'created', at: 'file', attributes: { mode: 0o100644, size: 3 } });
    const into = content('two', { path: path('a'), nameInDirectory: Buffer.from('file') });
    expect(await files.write(call, into)).toMatchObject({ became: 'replaced', at: 'directory' });
    expect(await read('a/file')).toBe('two');
    await files.makeLink(call, { path: path('link'), target: Buffer.from('a/file'), kind: 'symbolic' });
    const listed: [string, number][] = [];
    await files.list(call, path(''), (name, { mode }: FileAttributes) => listed.push([name, mode & 0o170000]));
    expect(listed.sort()).toEqual([
      ['a', 0o040000],
      ['link', 0o120000],
    ]);
    const moving = { from: path('a'), to: path('b/c') };
    await files.move(call, moving, { parents: true, replace: false });
    expect(await read('b/c/file')).toBe('two');
    const removal = { kind: 'any', recursive: true, decide: null } as const;
    await files.remove(call, path('b'), removal);
    await expect(files.stat(call, path('b'), { follow: true })).rejects.toMatchObject({ code: 'path_not_found' });
  });

  it('are refused with the codes of real ones', async () => {
    await files.write(call, content('one'));
    const removal = { kind: 'any', recursive: false, decide: null } as const;
    const refused: readonly [string, Promise<unknown>][] = [
      ['path_is_directory', files.open(call, path('a'))],
      ['path_is_directory', files.write(call, content('x', { path: path('a') }))],
      ['path_not_directory', files.list(call, path('a/file'), () => undefined)],
      ['path_exists', files.makeDirectory(call, path('a'), { parents: true })],
      ['directory_not_empty', files.remove(call, path('a'), removal)],
      ['path_protected', files.remove(call, Buffer.from('/home'), { ...removal, recursive: true })],
      ['precondition_failed', files.write(call, content('x', { decide: () => false }))],
      ['no_space', files.write(call, content('x'.repeat(MOST_BYTES + 1)))],
      ['tools_failed', files.write(call, content('x', { length: 2 }))],
    ];
    for (const [code, work] of refused) await expect(work).rejects.toMatchObject({ code });
    expect(await read('a/file')).toBe('one');
  });

  it('are changed in place, in parts', async () => {
    await files.create(call, path('part'), { existing: 'refuse', mode: 0o600 });
    await files.writePart(call, path('part'), { offset: 2, data: Buffer.from('cd') });
    await files.truncate(call, path('part'), 3);
    await files.change(call, path('part'), { mode: 0o640, times: { accessedAt: 1, modifiedAt: 2 } });
    expect(await files.readPart(call, path('part'), { offset: 1, length: 9 })).toEqual(Buffer.from('\0c'));
    expect(await files.stat(call, path('part'), { follow: true })).toMatchObject({ mode: 0o100640, modifiedAt: 2 });
    expect(await files.usage(call, path('').subarray(0, -1))).toEqual({ bytes: 3, isComplete: true });
  });

  it('are found by their names and lines', async () => {
    await files.write(call, content('one\ntwo'));
    const home = path('').subarray(0, -1);
    const { found, isComplete } = await files.search(call, home, { name: 'FILE', content: 'tw', limit: 9 });
    const line = { number: 2, text: Buffer.from('two') };
    expect([found, isComplete]).toEqual([[{ path: Buffer.from('a/file'), mode: 0o100644, size: 7, line }], true]);
    expect(await files.search(call, home, { name: '*', limit: 1 })).toMatchObject({ isComplete: false });
  });

  it('go into an archive, and come out of it', async () => {
    await files.write(call, content('one'));
    await files.makeLink(call, { path: path('a/link'), target: Buffer.from('file'), kind: 'symbolic' });
    const archive = await files.pack(call, path('a'), () => undefined);
    const sent = { content: Readable.from([await buffer(archive)]), onBytes: () => undefined };
    expect(await files.unpack(call, path('new/deep'), sent)).toEqual({ entries: 2, bytes: 3 });
    expect(await read('new/deep/link')).toBe('one');
  });

  it('are not written by an archive that leaves its directory, or is none', async () => {
    const first = [{ name: 'first' }, 'x'] as const;
    const evil: readonly (readonly [Headers, string?])[] = [
      [{ name: '../out' }, 'x'],
      [{ name: '/out' }, 'x'],
      [{ name: 'l', type: 'symlink', linkname: '/etc' }],
      [{ name: 'l', type: 'symlink', linkname: '../..' }],
      [{ name: 'h', type: 'link', linkname: '/etc/passwd' }],
      [{ name: 'p', type: 'fifo' }],
    ];
    const archives = await Promise.all(evil.map((entry) => packed(first, entry)));
    const throughLink = await packed([{ name: 'l', type: 'symlink', linkname: '.' }], [{ name: 'l/x' }, 'x']);
    const none = { content: Readable.from([Buffer.alloc(2048, 'x')]) };
    for (const archive of [...archives, throughLink, none]) {
      const unpacking = files.unpack(call, path('evil'), { ...archive, onBytes: () => undefined });
      await expect(unpacking).rejects.toMatchObject({ code: 'invalid_parameters' });
    }
    await expect(files.stat(call, path('evil'), { follow: true })).rejects.toMatchObject({ code: 'path_not_found' });
  });

  it('are watched until their directory is gone, the call is over or the container has ended', async () => {
    await files.makeDirectory(call, path('w/below'), { parents: true });
    const abort = new AbortController();
    const watch = (name: string, recursive = true) =>
      files.watch({ engineId: 'id', signal: abort.signal }, path(name), { recursive });
    const [all, flat, ended, stopped] = [await watch('w'), await watch('w', false), await watch(''), await watch('')];
    await stopped.return?.();
    expect(await stopped.next()).toEqual({ value: undefined, done: true });
    await files.write(call, content('x', { path: path('w/below/new/f') }));
    await files.change(call, path('w/below/new/f'), { mode: 0o600 });
    await files.move(call, { from: path('w/below'), to: path('w/b') }, { parents: false, replace: false });
    await files.remove(call, path('w'), { kind: 'any', recursive: true, decide: null });
    const told = async (changes: AsyncIterable<readonly FileChange[]>): Promise<string[]> => {
      const lines: string[] = [];
      for await (const some of changes) lines.push(...some.map((each) => `${each.type} ${each.path.toString()}`));
      return lines;
    };
    const moved = ['rename below', 'create b'];
    expect(await told(flat)).toEqual([...moved, 'remove b']);
    expect((await told(all)).filter((each, at, lines) => each !== lines[at - 1])).toEqual([
      'create below/new',
      'create below/new/f',
      'write below/new/f',
      'chmod below/new/f',
      ...moved,
      'remove b/new/f',
      'remove b/new',
      'remove b',
    ]);
    expect((await ended.next()).value).toContainEqual({ type: 'remove', path: Buffer.from('w') });
    for (let index = 0; index < 1100; index += 1)
      await files.create(call, path('f'), { existing: 'empty', mode: 0o600 });
    expect(((await ended.next()).value as FileChange[]).at(-1)?.type).toBe('overflow');
    const other = await watch('');
    over.abort();
    await expect(other.next()).rejects.toMatchObject({ code: 'container_not_running' });
    await expect(files.watch(call, path('none'), { recursive: false })).rejects.toMatchObject({
      code: 'path_not_found',
    });
    await expect(files.watch(call, path('f'), { recursive: false })).rejects.toMatchObject({
      code: 'path_not_directory',
    });
  });
});
