import { execFile } from 'node:child_process';
import { chmod, lstat, mkdir, mkdtemp, readFile, readdir, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Headers, pack } from 'tar-stream';
import { CommandLine, type Ended } from './command-line.ts';
import { CONTAINER, type Handler, ME, ScriptedServer } from './scripted-server.ts';

jest.setTimeout(120_000);

const run = promisify(execFile);

/** What a shell would run, in all the ways to say it. */
const TRAPS = [
  '$(touch PWNED)',
  '`touch PWNED`',
  '";touch PWNED;"',
  "';touch PWNED;'",
  'x;touch PWNED',
  '-rf',
  '~',
  '*',
];

const named = (name: string) => ({ id: 'a'.repeat(64), db_id: '11111111-1111-4111-8111-111111111111', name });
const listOf = (...names: readonly string[]) => ({
  containers: names.map(named),
  count: 1,
  limit: 9,
  next_cursor: null,
});

describe('berth, with a server that wants to harm', () => {
  let line: CommandLine;
  let folder: string;
  const servers: ScriptedServer[] = [];

  beforeAll(async () => (line = await CommandLine.build()));
  beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'berth-hostile-'))));
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.stop();
    await rm(folder, { recursive: true });
  });
  afterAll(() => line.remove());

  async function serve(answers: Readonly<Record<string, unknown>>): Promise<ScriptedServer> {
    const server = await ScriptedServer.start({ 'GET /api/me': ME, ...answers });
    servers.push(server);
    return server;
  }

  /** As someone who is logged in there by the environment. */
  function berth(server: ScriptedServer, ...args: readonly string[]): Promise<Ended> {
    return line.berthWith({ environment: { BERTH_URL: server.url, BERTH_TOKEN: 'berth_mine' } }, ...args);
  }

  describe('completion', () => {
    it('must offer no word that a shell would read as anything but a word', async () => {
      const server = await serve({ 'GET /api/containers': listOf('dev', ...TRAPS, 'de\u001b[31mv', 'de\nv') });
      expect(await berth(server, '__complete', 'stop', '')).toMatchObject({ code: 0, stdout: 'dev\n' });
    });

    it('must run nothing of what it is offered in bash', async () => {
      const server = await serve({ 'GET /api/containers': listOf('dev', ...TRAPS) });
      // As a command line that filters nothing would: the script alone must hold.
      const offered = join(folder, 'offered');
      await writeFile(offered, ['dev', ...TRAPS].map((trap) => `${trap}\n`).join(''));
      const real = `node '${join(line.folder, 'berth.cjs')}'`;
      for (const [words, berthIs] of [
        [['dev', ...TRAPS], `[ "$1" = __complete ] && cat '${offered}' || ${real} "$@"`],
        [['dev'], `${real} "$@"`],
      ] as const) {
        const script = [
          `berth() { ${berthIs}; }`,
          'eval "$(berth completion bash)"',
          'COMP_WORDS=(berth stop "") COMP_CWORD=2',
          '_berth',
          'printf "%s\\n" "${COMPREPLY[@]}"',
        ].join('\n');
        const env = { PATH: process.env['PATH'], HOME: folder, BERTH_URL: server.url, BERTH_TOKEN: 'berth_mine' };
        const { stdout } = await run('bash', ['--norc', '-c', script], { cwd: folder, env });
        expect(stdout).toBe(words.map((word) => `${word}\n`).join(''));
        expect(await readdir(folder)).toEqual(['offered']);
      }
    });
  });

  describe('what it says', () => {
    const escapes = '\u001b]0;title\u0007\u001b[2J\u009b31m\u202e\nberth: all is well\r';
    const isClean = (text: string): boolean =>
      // oxlint-disable-next-line no-control-regex -- these must not be there
      !/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/.test(text) && !/^berth: all is well/m.test(text);

    it('must be shown without its control characters, in errors, notes, tables, ids and JSON', async () => {
      const refused: Handler = (_request, response) => {
        response.statusCode = 400;
        const details = [{ field: `f${escapes}`, message: `m${escapes}` }];
        response.end(JSON.stringify({ error: `no${escapes}`, code: 'invalid_parameters', request_id: 'r', details }));
      };
      const hostile = {
        ...CONTAINER,
        name: `dev${escapes}`,
        message: `done${escapes}`,
        status: `running${escapes}`,
        labels: { [escapes]: escapes },
        start: { ...CONTAINER.start, command: [escapes] },
      };
      const server = await serve({
        'GET /api/containers': listOf(),
        'POST /api/containers/dev/stop': hostile,
        'POST /api/containers/dev/start': refused,
        'GET /api/containers/dev': hostile,
        'POST /api/tokens': { token: `berth_${escapes}` },
        'GET /api/tokens': { tokens: [{ id: escapes, name: escapes, scopes: [escapes], created_at: escapes }] },
        'GET /api/me': { ...ME, user: { ...ME.user, username: escapes, tier: escapes } },
        'GET /api/usage': { usage: [] },
        'GET /api/images': { images: [{ name: escapes, reference: escapes, description: escapes, template: null }] },
      });
      for (const args of [
        ['stop', 'dev'],
        ['start', 'dev'],
        ['show', 'dev'],
        ['show', 'dev', '--json'],
        ['stop', 'dev', '--json'],
        ['tokens', 'create', 'x'],
        ['tokens'],
        ['tokens', '--json'],
        ['usage'],
        ['whoami'],
        ['images'],
      ]) {
        const { stdout, stderr } = await berth(server, ...args);
        const shown = stdout + stderr;
        expect({ args, shown, isThere: shown.includes('title'), isClean: isClean(shown) }).toEqual({
          args,
          shown,
          isThere: true,
          isClean: true,
        });
        if (args.includes('--json')) expect(JSON.stringify(JSON.parse(stdout))).toContain('\u009b31m');
      }
    });
  });

  describe('a token', () => {
    const login = (server: ScriptedServer, token: string, ...args: readonly string[]): Promise<Ended> =>
      line.berthWith(
        { input: token, environment: { BERTH_CONFIG: join(folder, 'config') } },
        'login',
        server.url,
        ...args,
      );
    const list = (environment: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<Ended> =>
      line.berthWith({ environment: { BERTH_CONFIG: join(folder, 'config'), ...environment } }, 'ls', '-q', ...args);
    const answers = { 'GET /api/containers': listOf('dev') };

    it('must go to the server that it was saved with, and to no other', async () => {
      const [mine, other] = [await serve(answers), await serve(answers)];
      expect(await login(mine, 'berth_mine', '--as', 'mine')).toMatchObject({ code: 0 });
      const stray = await list({ BERTH_URL: other.url });
      expect(stray).toMatchObject({ code: 2, stdout: '' });
      expect(stray.stderr).toContain(`no token was saved for BERTH_URL, ${other.url}. Set BERTH_TOKEN too`);
      expect(other.tokens).toEqual([]);
      expect(await list({ BERTH_URL: `${mine.url}/` })).toMatchObject({ code: 0, stderr: '' });
      expect(await list({ BERTH_URL: other.url, BERTH_TOKEN: 'berth_others' })).toMatchObject({ code: 0 });
      expect(new Set(mine.tokens)).toEqual(new Set(['berth_mine']));
      expect(new Set(other.tokens)).toEqual(new Set(['berth_others']));
    });

    it('must be that of the context that is named, whatever the environment says', async () => {
      const [mine, other] = [await serve(answers), await serve(answers)];
      await login(mine, 'berth_mine', '--as', 'mine');
      const environment = { BERTH_URL: other.url, BERTH_TOKEN: 'berth_others' };
      expect(await list(environment, '--context', 'mine')).toMatchObject({ code: 0 });
      expect(other.tokens).toEqual([]);
      expect(new Set(mine.tokens)).toEqual(new Set(['berth_mine']));
    });

    it('must be kept beside that of another server on the same host, or of another user', async () => {
      const [one, two] = [await serve(answers), await serve(answers)];
      const contexts = async () =>
        JSON.parse(
          (await line.berthWith({ environment: { BERTH_CONFIG: join(folder, 'config') } }, 'contexts', '--json'))
            .stdout,
        ) as unknown;
      expect((await login(one, 'berth_ada')).stderr).toContain('logged in to 127.0.0.1 as ada');
      expect((await login(two, 'berth_ada2')).stderr).toContain('logged in to 127.0.0.1-2 as ada');
      one.on('GET /api/me', { ...ME, user: { ...ME.user, username: 'bob' } });
      expect((await login(one, 'berth_bob')).stderr).toContain('logged in to 127.0.0.1-3 as bob');
      // The same user again: a new token in the place of the old one.
      expect((await login(one, 'berth_bob_new')).stderr).toContain('logged in to 127.0.0.1-3 as bob');
      expect(await login(one, 'berth_bob', '--as', '127.0.0.1')).toMatchObject({ code: 2 });
      expect(await contexts()).toEqual([
        { name: '127.0.0.1', url: one.url, user: 'ada', current: false },
        { name: '127.0.0.1-2', url: two.url, user: 'ada', current: false },
        { name: '127.0.0.1-3', url: one.url, user: 'bob', current: true },
      ]);
      expect(await list({}, '--context', '127.0.0.1')).toMatchObject({ code: 0 });
      expect(one.tokens.at(-1)).toBe('berth_ada');
      // Of several users of the server, the current one.
      expect(await list({ BERTH_URL: one.url })).toMatchObject({ code: 0 });
      expect(one.tokens.at(-1)).toBe('berth_bob_new');
    });

    it('must not be sent over plain HTTP to another machine without a warning', async () => {
      const server = await serve(answers);
      expect((await login(server, 'berth_mine')).stderr).not.toContain('warning');
      for (const [url, isWarned] of [
        ['http://berth.invalid:8080', true],
        ['http://127.0.0.1.berth.invalid', true],
        ['https://berth.invalid', false],
      ] as const) {
        const { code, stderr } = await line.berthWith({ input: 'berth_mine' }, 'login', url);
        expect({ url, code, isWarned: stderr.includes('can read the token') }).toEqual({ url, code: 6, isWarned });
      }
    });
  });

  describe('cp of a directory', () => {
    /** The types of tar-stream do not have `pax`, the records of an extended header. */
    type Entry = Headers & { readonly content?: string; readonly pax?: Readonly<Record<string, string>> };

    /** A server that has the directory `/home/user/tree`, as an archive of that. */
    async function serveTree(entries: readonly Entry[]): Promise<ScriptedServer> {
      const archive: Handler = (_request, response) => {
        const packing = pack();
        for (const { content, ...header } of entries) packing.entry(header, content ?? '');
        packing.finalize();
        // The command line hangs up when it refuses the archive.
        packing.on('error', () => undefined).pipe(response);
      };
      return await serve({
        'GET /api/containers': listOf('dev'),
        'GET /api/containers/11111111-1111-4111-8111-111111111111/files/list': [],
        'GET /api/containers/11111111-1111-4111-8111-111111111111/archive': archive,
      });
    }

    const copied = (server: ScriptedServer): Promise<Ended> => berth(server, 'cp', 'dev:tree', join(folder, 'tree'));

    it('must make files without setuid bits and owners, no devices or pipes, and no links that lead out', async () => {
      const server = await serveTree([
        { name: './', type: 'directory', mode: 0o4777, uid: 12_345, gid: 12_345 },
        { name: './run', type: 'file', mode: 0o6755, uid: 12_345, gid: 12_345, content: 'run me' },
        { name: './sub/', type: 'directory', mode: 0o1555, uid: 12_345 },
        { name: './sub/read', type: 'file', mode: 0o444, mtime: new Date(1_700_000_000_000), content: 'read me' },
        { name: './sub/again', type: 'link', linkname: './sub/read' },
        { name: './sub/up', type: 'symlink', linkname: '../run' },
        { name: './null', type: 'character-device', devmajor: 1, devminor: 3, mode: 0o666 },
        { name: './disk', type: 'block-device', devmajor: 8, devminor: 0, mode: 0o666 },
        { name: './pipe', type: 'fifo', mode: 0o666 },
        { name: './passwd', type: 'symlink', linkname: '/etc/passwd' },
        { name: './out', type: 'symlink', linkname: '../out' },
        { name: './around', type: 'symlink', linkname: 'sub/up/../../out' },
      ]);
      const ended = await copied(server);
      expect(ended).toMatchObject({ code: 0, stdout: '' });
      for (const name of ['null', 'disk', 'pipe', 'passwd', 'out', 'around']) {
        expect(ended.stderr).toMatch(new RegExp(`skipped: \\./${name}: `));
      }
      const tree = join(folder, 'tree');
      expect((await readdir(tree, { recursive: true })).toSorted()).toEqual([
        'run',
        'sub',
        'sub/again',
        'sub/read',
        'sub/up',
      ]);
      for (const name of ['.', 'run', 'sub', 'sub/read']) {
        const { mode, uid, gid } = await lstat(join(tree, name));
        expect({ name, bits: mode & 0o7000, uid, gid }).toEqual({
          name,
          bits: 0,
          uid: process.getuid?.(),
          gid: process.getgid?.(),
        });
      }
      // What the umask leaves of 755.
      const { mode } = await lstat(join(tree, 'run'));
      expect({ user: mode & 0o700, more: mode & 0o022 }).toEqual({ user: 0o700, more: 0 });
      expect((await lstat(join(tree, 'sub/read'))).mtimeMs).toBe(1_700_000_000_000);
      expect(await readFile(join(tree, 'sub/again'), 'utf8')).toBe('read me');
      expect(await readlink(join(tree, 'sub/up'))).toBe('../run');
    });

    it.each([
      ['an absolute path', [{ name: '/evil', type: 'file' }]],
      ['a path with ..', [{ name: './sub/../../evil', type: 'file' }]],
      ['a link that was there', [{ name: './mine/evil', type: 'file' }]],
      [
        'a link of its own',
        [
          { name: './a', type: 'symlink', linkname: 'b' },
          { name: './a/evil', type: 'file' },
        ],
      ],
      ['a hard link to a file that was there', [{ name: './evil', type: 'link', linkname: 'secret' }]],
      ['a hard link that leads out', [{ name: './evil', type: 'link', linkname: '../elsewhere/secret' }]],
    ] as readonly (readonly [string, readonly Entry[]])[])('must write nothing through %s', async (_what, entries) => {
      const [tree, elsewhere] = [join(folder, 'tree'), join(folder, 'elsewhere')];
      await mkdir(join(tree, 'tree'), { recursive: true });
      await mkdir(elsewhere);
      await writeFile(join(elsewhere, 'secret'), 'secret');
      await writeFile(join(tree, 'tree', 'secret'), 'secret');
      await symlink(elsewhere, join(tree, 'tree', 'mine'));
      const server = await serveTree([{ name: './', type: 'directory' }, ...entries]);
      expect(await copied(server)).toMatchObject({ code: 1, stderr: expect.stringMatching(/^berth: /) as string });
      expect(await readdir(elsewhere)).toEqual(['secret']);
      expect((await readdir(folder)).toSorted()).toEqual(['elsewhere', 'tree']);
      expect(await readdir(join(tree, 'tree'))).not.toContain('evil');
    });

    it.each([
      ['a header that would fill the memory', { comment: 'c'.repeat(8 * 2 ** 20) }, 'a header of more than 1 MB'],
      ['a negative size', { size: '-5' }, 'an impossible size'],
      ['a size that is no number', { size: 'many' }, 'an impossible size'],
    ] as const)('is refused with %s', async (_what, pax, reason) => {
      const server = await serveTree([{ name: './evil', type: 'file', content: 'x', pax }]);
      expect(await copied(server)).toMatchObject({ code: 1, stderr: expect.stringContaining(reason) as string });
      expect(await readdir(join(folder, 'tree'))).toEqual([]);
    });

    it('must replace a link in the place of a file, and not what it leads to', async () => {
      const tree = join(folder, 'tree', 'tree');
      await mkdir(tree, { recursive: true });
      await writeFile(join(folder, 'kept'), 'kept');
      await chmod(join(folder, 'kept'), 0o600);
      await symlink(join(folder, 'kept'), join(tree, 'file'));
      const server = await serveTree([{ name: 'file', type: 'file', mode: 0o644, content: 'new' }]);
      expect(await copied(server)).toMatchObject({ code: 0 });
      expect(await readFile(join(folder, 'kept'), 'utf8')).toBe('kept');
      expect(await readFile(join(tree, 'file'), 'utf8')).toBe('new');
      expect((await lstat(join(tree, 'file'))).isSymbolicLink()).toBe(false);
    });
  });
});
