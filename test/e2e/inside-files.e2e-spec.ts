import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { extract, type Headers, pack } from 'tar-stream';
import type { NewContainer } from '../support/clients/api-client';
import { Berth, type TestUser } from '../support/servers/berth';
import { described } from '../support/clients/described';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';

jest.setTimeout(120_000);

const MB = 1024 * 1024;
const LIMIT_MB = 8;

/** As in the query: byte by byte, so that names need not be UTF-8. */
const escaped = (path: Buffer | string): string =>
  [...Buffer.from(path)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');

describe('files in a gVisor container', () => {
  const real = new RealDocker();
  const instance = `test-files-${String(process.pid)}`;
  let berth: Berth;
  let user: TestUser;
  let container: NewContainer;
  let inside: string;

  beforeAll(async () => {
    berth = await Berth.start({
      environment: {
        INSTANCE_ID: instance,
        FILE_SIZE_LIMIT_MB: String(LIMIT_MB),
        ARCHIVE_SIZE_LIMIT_MB: String(LIMIT_MB),
      },
    });
    user = await berth.user('pro', ['read', 'write', 'exec']);
    container = await user.api.running();
    inside = `/api/containers/${container.db_id}`;
    await sh('mkdir -p /tmp/w');
  });

  afterAll(async () => {
    await berth.stop();
    await real.removeInstance(instance);
  });

  const sh = (script: string): Promise<string> => real.exec(container.id, ['sh', '-c', script]);

  interface Given {
    readonly headers?: Record<string, string>;
    readonly body?: Buffer | string;
  }
  async function call(method: string, path: string, { headers = {}, body }: Given = {}): Promise<Response> {
    const answer = await fetch(`${berth.url}${inside}/${path}`, {
      method,
      headers: { authorization: `Bearer ${user.token}`, ...headers },
      ...(body !== undefined && { body: new Uint8Array(Buffer.from(body)) }),
    });
    return described(method, answer);
  }
  const get = (path: Buffer | string, headers: Record<string, string> = {}): Promise<Response> =>
    call('GET', `files?path=${escaped(path)}`, { headers });
  const put = (path: Buffer | string, body: Buffer | string): Promise<Response> =>
    call('PUT', `files?path=${escaped(path)}`, { body });
  const bytesOf = async (answer: Response): Promise<Buffer> => Buffer.from(await answer.arrayBuffer());
  async function codeOf(answer: Response): Promise<[number, string]> {
    return [answer.status, ((await answer.json()) as { code: string }).code];
  }
  const list = async (path: string): Promise<Record<string, unknown>[]> =>
    (await (await call('GET', `files/list?path=${escaped(path)}`)).json()) as Record<string, unknown>[];

  it('must come back as they were written, whatever is in them', async () => {
    const contents = [
      Buffer.alloc(0),
      Buffer.from(Array.from({ length: 256 }, (_each, byte) => byte)),
      randomBytes(5 * MB),
    ];
    for (const [index, content] of contents.entries()) {
      const path = `/home/user/new/deep/${String(index)}`;
      const written = await put(path, content);
      expect([written.status, await written.json()]).toEqual([
        201,
        {
          name: String(index),
          path,
          size: content.length,
          mode: '-rw-r--r--',
          mod_time: expect.stringMatching(/^\d{4}-.*Z$/),
          is_dir: false,
        },
      ]);
      const read = await get(path);
      expect([read.status, (await bytesOf(read)).equals(content)]).toEqual([200, true]);
      expect(Object.fromEntries(read.headers)).toMatchObject({
        'content-length': String(content.length),
        'content-type': 'application/octet-stream',
        'content-disposition': `attachment; filename=${String(index)}`,
        'x-content-type-options': 'nosniff',
        'accept-ranges': 'bytes',
        etag: expect.stringMatching(/^"[\w-]+"$/),
      });
    }
    const head = await call('HEAD', 'files?path=/home/user/new/deep/2');
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, String(5 * MB), '']);
    expect(await sh('ls -A /home/user/new/deep')).toBe('0\n1\n2\n');
  });

  it('must be read as the image is: what the kernel makes too', async () => {
    expect((await bytesOf(await get('/proc/1/cmdline'))).toString()).toContain('/.berth/supervisor');
    const json = { headers: { 'content-type': 'application/json' }, body: '{"any":"thing"}' };
    expect((await call('PUT', 'files?path=/tmp/w/a.json', json)).status).toBe(201);
    expect(await (await get('/tmp/w/a.json')).json()).toEqual({ any: 'thing' });
  });

  it('must be in the audit by how many bytes went either way, and by nothing of what they are', async () => {
    await put('/tmp/w/audited', Buffer.alloc(300_000));
    await bytesOf(await get('/tmp/w/audited', { range: 'bytes=0-99999' }));
    expect((await put('/tmp/w/audited', Buffer.alloc(LIMIT_MB * MB + 1))).status).toBe(413);
    const archive = await bytesOf(await call('GET', 'archive?path=/tmp/w'));
    await call('PUT', 'archive?path=/tmp/w/again', { body: archive });
    const { body } = await user.api.call('GET', '/api/audit?limit=5');
    expect((body['entries'] as Record<string, unknown>[]).map(({ action, detail }) => [action, detail])).toEqual([
      ['container.archive_write', { program: null, bytes: archive.length }],
      ['container.archive_read', { program: null, bytes: archive.length }],
      ['container.file_write', null],
      ['container.file_read', { program: null, bytes: 100_000 }],
      ['container.file_write', { program: null, bytes: 300_000 }],
    ]);
    expect(JSON.stringify(body)).not.toContain('audited');
  });

  it('must be served in ranges, and not again to whoever has them', async () => {
    await put('/tmp/w/range', '0123456789');
    const whole = await get('/tmp/w/range');
    const etag = whole.headers.get('etag') ?? '';
    await whole.text();
    const cases: [string, number, string, string | null][] = [
      ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
      ['bytes=7-', 206, '789', 'bytes 7-9/10'],
      ['bytes=-3', 206, '789', 'bytes 7-9/10'],
      ['bytes=0-99', 206, '0123456789', 'bytes 0-9/10'],
      ['bytes=0-1,3-4', 200, '0123456789', null],
    ];
    for (const [range, status, text, contentRange] of cases) {
      const answer = await get('/tmp/w/range', { range });
      expect([answer.status, await answer.text(), answer.headers.get('content-range')]).toEqual([
        status,
        text,
        contentRange,
      ]);
    }
    const beyond = await get('/tmp/w/range', { range: 'bytes=10-' });
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, 'bytes */10']);
    expect(await beyond.json()).toMatchObject({ code: 'range_not_satisfiable' });
    const known = await get('/tmp/w/range', { 'if-none-match': etag });
    expect([known.status, await known.text(), known.headers.get('etag')]).toEqual([304, '', etag]);
    const outdated = { range: 'bytes=2-4', 'if-range': '"other"' };
    expect((await get('/tmp/w/range', outdated)).status).toBe(200);
    expect((await get('/tmp/w/range', { ...outdated, 'if-range': etag })).status).toBe(206);
    await put('/tmp/w/range', '9876543210');
    expect((await get('/tmp/w/range', { 'if-none-match': etag })).status).toBe(200);
  });

  it('must be read, written and deleted on the conditions that the request has', async () => {
    await put('/tmp/w/condition', '0123456789');
    const first = await get('/tmp/w/condition');
    const [etag, modified] = [first.headers.get('etag') ?? '', first.headers.get('last-modified') ?? ''];
    await first.text();
    const path = 'files?path=/tmp/w/condition';
    const status = async (method: string, headers: Record<string, string>, body?: string): Promise<number> => {
      const answer = await call(method, path, { headers, ...(body !== undefined && { body }) });
      const text = await answer.text();
      if (answer.status === 412 && method !== 'HEAD')
        expect(JSON.parse(text)).toMatchObject({ code: 'precondition_failed' });
      return answer.status;
    };
    const before = 'Sun, 06 Nov 1994 08:49:37 GMT';
    const cases: [string, string, string, number][] = [
      ['GET', 'if-match', '"other"', 412],
      ['HEAD', 'if-none-match', etag, 304],
      ['GET', 'if-modified-since', modified, 304],
      ['HEAD', 'range', 'bytes=2-4', 200],
      ['PUT', 'if-none-match', '*', 412],
      ['PUT', 'if-unmodified-since', before, 412],
      ['DELETE', 'if-match', '"other"', 412],
    ];
    for (const [method, name, value, expected] of cases) {
      const body = method === 'PUT' ? 'lost' : undefined;
      expect([method, name, await status(method, { [name]: value }, body)]).toEqual([method, name, expected]);
    }
    const form = (headers: Record<string, string>): Promise<Response> => {
      const body = new FormData();
      body.append('file', new Blob(['form']), 'condition');
      const authorization = `Bearer ${user.token}`;
      const init = { method: 'POST', headers: { authorization, ...headers }, body };
      return fetch(`${berth.url}${inside}/files?path=/tmp/w`, init);
    };
    expect((await form({ 'if-none-match': '*' })).status).toBe(412);
    expect(await (await get('/tmp/w/condition')).text()).toBe('0123456789');
    const many = await Promise.all(
      Array.from({ length: 4 }, (_each, at) => status('PUT', { 'if-match': etag }, String(at).repeat(10))),
    );
    expect(many.sort()).toEqual([200, 412, 412, 412]);
    const now = (await get('/tmp/w/condition')).headers.get('etag') ?? '';
    expect((await form({ 'if-match': now })).status).toBe(200);
    expect(await (await get('/tmp/w/condition')).text()).toBe('form');
    expect(await status('DELETE', { 'if-match': now })).toBe(412);
    const last = (await get('/tmp/w/condition')).headers.get('etag') ?? '';
    expect(await status('DELETE', { 'if-match': last })).toBe(204);
    expect(await status('PUT', { 'if-match': '*' }, 'new')).toBe(412);
    const makers = await Promise.all(['a', 'b', 'c'].map((text) => status('PUT', { 'if-none-match': '*' }, text)));
    expect(makers.sort()).toEqual([201, 412, 412]);
    expect(await sh('ls -A /dev/shm; ls -A /tmp/w | grep berth')).toBe('');
  });

  it('must keep mode and owner when they are replaced, and a link that leads to them', async () => {
    await sh('cd /tmp/w && echo old >run && chmod 751 run && chown 1000:1000 run && ln -s run link');
    const written = await put('/tmp/w/link', 'new');
    expect([written.status, await written.json()]).toMatchObject([200, { path: '/tmp/w/link', mode: '-rwxr-x--x' }]);
    expect(await sh('cd /tmp/w && cat run && stat -c " %a %u" run && readlink link')).toBe('new 751 1000\nrun\n');
  });

  it('must be taken from a form, into a directory by their own name', async () => {
    async function form(path: string, field: string, name: string): Promise<Response> {
      const body = new FormData();
      body.append('note', 'x');
      body.append(field, new Blob([randomBytes(100_000)]), name);
      return fetch(`${berth.url}${inside}/files?path=${escaped(path)}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${user.token}` },
        body,
      });
    }
    await sh('mkdir -p /tmp/w/form');
    for (const [path, becomes] of [
      ['/tmp/w/form', '/tmp/w/form/a b.bin'],
      ['/tmp/w/fresh/', '/tmp/w/fresh/a b.bin'],
      ['/tmp/w/form/named', '/tmp/w/form/named'],
    ] as const) {
      const answer = await form(path, 'file', '../a b.bin');
      expect([answer.status, await answer.json()]).toMatchObject([201, { path: becomes, size: 100_000 }]);
    }
    expect(await codeOf(await form('/tmp/w/form', 'upload', 'a'))).toEqual([400, 'invalid_parameters']);
    const headers = { 'content-type': 'multipart/form-data; boundary=x' };
    const half = '--x\r\nContent-Disposition: form-data; name="file"; filename="half"\r\n\r\nhalf';
    const cut = await call('POST', 'files?path=/tmp/w/form/', { headers, body: half });
    expect(await codeOf(cut)).toEqual([400, 'invalid_parameters']);
    expect(await codeOf(await call('POST', 'files?path=/tmp/w/x', { body: 'x' }))).toEqual([
      415,
      'unsupported_media_type',
    ]);
    expect(await sh('ls -A /tmp/w/form')).toBe('a b.bin\nnamed\n');
  });

  it('must never be half there: a client that hangs up leaves what was', async () => {
    await put('/tmp/w/kept', 'whole');
    const { hostname, port } = new URL(berth.url);
    const path = `${inside}/files?path=/tmp/w/kept`;
    const headers = { authorization: `Bearer ${user.token}`, 'content-length': String(4 * MB) };
    const sending = httpRequest({ hostname, port, path, method: 'PUT', headers });
    sending.on('error', () => undefined);
    sending.write(randomBytes(2 * MB));
    await eventually(async () => expect(await sh('ls -A /tmp/w | grep berth')).toContain('.berth-upload-'));
    expect((await list('/tmp/w')).map(({ name }) => name).filter((name) => String(name).startsWith('.'))).toEqual([]);
    sending.destroy();
    await eventually(async () => expect(await sh('ls -A /tmp/w | grep berth')).toBe(''));
    expect(await (await get('/tmp/w/kept')).text()).toBe('whole');
  });

  it('must end the operation of a client that goes in the middle of them, or reads nothing', async () => {
    await sh('dd if=/dev/zero of=/tmp/w/zeros bs=6M count=1');
    const { hostname, port } = new URL(berth.url);
    const socket = connect(Number(port), hostname);
    const head = `GET ${inside}/files?path=/tmp/w/zeros HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${user.token}\r\n\r\n`;
    socket.write(head);
    socket.once('data', () => socket.pause());
    await once(socket, 'data');
    const readers = (): Promise<string> => sh('ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c /tmp/w/zeros');
    await eventually(async () => expect(await readers()).not.toBe('0\n'));
    // Others go on meanwhile.
    expect((await get('/tmp/w/kept')).status).toBe(200);
    socket.destroy();
    await eventually(async () => expect(await readers()).toBe('0\n'));
  });

  it('must have any name, and never be taken for anything else', async () => {
    const names = ['-rf', '"; touch hacked; "', '`id`', '\nnew\nline\n', 'ünï', '*'];
    await Promise.all(
      names.map(async (name) => {
        expect((await put(`/tmp/w/names/${name}`, name)).status).toBe(201);
        expect(await (await get(`/tmp/w/names/${name}`)).text()).toBe(name);
      }),
    );
    const raw = Buffer.from('/tmp/w/names/\xff\xfe', 'latin1');
    expect((await put(raw, 'raw')).status).toBe(201);
    const listed = await list('/tmp/w/names');
    const own = listed.filter(({ path_encoded: encoded }) => encoded === undefined);
    expect(own.map(({ name }) => name).sort()).toEqual([...names].sort());
    const [odd] = listed.filter(({ path_encoded: encoded }) => encoded !== undefined);
    expect(odd).toMatchObject({ path_encoded: '/tmp/w/names/%FF%FE', size: 3 });
    expect(await (await call('GET', `files?path=${String(odd?.['path_encoded'])}`)).text()).toBe('raw');
    expect((await call('DELETE', 'files?path=/tmp/w/names/-rf')).status).toBe(204);
    expect((await call('DELETE', 'files?path=/tmp/w/names/*')).status).toBe(204);
    expect(await sh('ls -A /tmp/w/names | wc -l; ls hacked /hacked /home/user/hacked 2>&1')).toMatch(
      /^5\n.*No such file/,
    );
  });

  it('must be the container’s own: links and .. lead nowhere else, and its user sees what it may', async () => {
    expect(await (await get('/home/user/../../etc/passwd')).text()).toContain('user:x:1000');
    expect(await (await get('/../../../etc/hostname')).text()).toBe(await sh('cat /etc/hostname'));
    await sh(
      'cd /tmp/w && ln -s /etc/shadow shadow && ln -s /proc/1/environ environ && ln -s loop loop && mkfifo fifo',
    );
    const denied = await visitor();
    try {
      for (const path of ['/tmp/w/shadow', '/etc/shadow', '/root/x']) {
        expect([path, await codeOf(await denied.get(path))]).toEqual([path, [403, 'path_denied']]);
      }
      expect(await codeOf(await denied.call('PUT', '/etc/new'))).toEqual([403, 'path_denied']);
      expect(await codeOf(await denied.call('DELETE', '/etc/passwd'))).toEqual([403, 'path_denied']);
    } finally {
      await denied.remove();
    }
    const cases: [string, number, string][] = [
      ['/tmp/w/nothing', 404, 'path_not_found'],
      ['/tmp/w/loop', 404, 'path_not_found'],
      ['/tmp/w', 409, 'path_is_directory'],
      ['/dev/zero', 409, 'path_not_file'],
      ['/tmp/w/fifo', 409, 'path_not_file'],
      ['/etc/passwd/x', 409, 'path_not_directory'],
      ['relative', 400, 'invalid_parameters'],
      [`/tmp/${'n'.repeat(300)}`, 400, 'invalid_parameters'],
    ];
    await Promise.all(
      cases.map(async ([path, ...expected]) => {
        expect([path.slice(0, 50), await codeOf(await get(path))]).toEqual([path.slice(0, 50), expected]);
      }),
    );
    expect(await codeOf(await call('GET', 'files'))).toEqual([400, 'invalid_parameters']);
    expect(await codeOf(await put('/tmp/w', 'x'))).toEqual([409, 'path_is_directory']);
    expect(await codeOf(await put('/dev/zero', 'x'))).toEqual([409, 'path_not_file']);
    expect(await codeOf(await put('/tmp/w/..', 'x'))).toEqual([400, 'invalid_parameters']);
  });

  it('must be listed in pages, each as it is', async () => {
    await sh(
      'mkdir /tmp/w/many && cd /tmp/w/many && mkdir d && ln -s /etc l && for i in 1 2 3 4 5; do echo $i >f$i; done',
    );
    const all: Record<string, unknown>[] = [];
    let next: string | undefined = `${inside}/files/list?path=/tmp/w/many&limit=3`;
    for (let page = 0; next !== undefined; page += 1) {
      const answer: Response = await fetch(berth.url + next, { headers: { authorization: `Bearer ${user.token}` } });
      const files = (await answer.json()) as Record<string, unknown>[];
      expect(files.length).toBe(page < 2 ? 3 : 1);
      all.push(...files);
      next = /^<(\S+)>; rel="next"$/.exec(answer.headers.get('link') ?? '')?.[1];
    }
    expect(all.map(({ name }) => name)).toEqual(['d', 'f1', 'f2', 'f3', 'f4', 'f5', 'l']);
    expect(all[0]).toMatchObject({ path: '/tmp/w/many/d', mode: 'drwxr-xr-x', is_dir: true });
    expect(all[1]).toMatchObject({ size: 2, mode: '-rw-r--r--', is_dir: false });
    expect(all[6]).toMatchObject({ mode: 'lrwxrwxrwx', is_dir: false });
    expect(await list('/tmp/w/many/d')).toEqual([]);
    expect((await list('/')).map(({ path }) => path)).toContain('/home');
    expect(await codeOf(await call('GET', 'files/list?path=/etc/passwd'))).toEqual([409, 'path_not_directory']);
    for (const query of ['limit=0', 'limit=1001', 'cursor=!', 'other=1']) {
      expect((await call('GET', `files/list?path=/tmp&${query}`)).status).toBe(400);
    }
  });

  it('must be found by their names, and by what is in them', async () => {
    await sh('mkdir -p /tmp/w/s/deep && cd /tmp/w/s && echo needle >deep/Found.txt && echo other >f && ln -s /etc etc');
    const search = async (query: string): Promise<unknown> => {
      const answer = await call('GET', `files/search?path=/tmp/w/s&${query}`);
      return answer.json();
    };
    const found = { path: '/tmp/w/s/deep/Found.txt', size: 7, mode: '-rw-r--r--', is_dir: false };
    expect(await search('name=found')).toEqual({ files: [found], complete: true });
    const line = { ...found, line: 1, text: 'needle' };
    expect(await search('content=needle')).toEqual({ files: [line], complete: true });
    expect(await search('content=needle&name=*.md')).toEqual({ files: [], complete: true });
    expect(await search('name=*&limit=1')).toMatchObject({ files: [{}], complete: false });
    expect(await codeOf(await call('GET', 'files/search?path=/tmp/w/s'))).toEqual([400, 'invalid_parameters']);
    expect(await codeOf(await call('GET', 'files/search?path=/tmp/w/none&name=x'))).toEqual([404, 'path_not_found']);
  });

  it('must be made, moved and deleted, and nothing with them that was there', async () => {
    const json = (body: object) => ({ headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    const mkdir = (path: string): Promise<Response> => call('POST', 'files/mkdir', json({ path }));
    const move = (from: string, to: string): Promise<Response> => call('POST', 'files/move', json({ from, to }));
    const made = await mkdir('/tmp/w/m/a/b');
    expect([made.status, await made.json()]).toMatchObject([201, { path: '/tmp/w/m/a/b', is_dir: true }]);
    expect((await call('POST', 'files/mkdir?path=/tmp/w/m/c')).status).toBe(201);
    expect(await codeOf(await mkdir('/tmp/w/m/a'))).toEqual([409, 'path_exists']);
    expect(await codeOf(await call('POST', 'files/mkdir'))).toEqual([400, 'invalid_parameters']);
    await put('/tmp/w/m/one', '1');
    await put('/tmp/w/m/two', '2');
    expect(await codeOf(await move('/tmp/w/m/one', '/tmp/w/m/two'))).toEqual([409, 'path_exists']);
    expect(await codeOf(await move('/tmp/w/m/one', '/tmp/w/m/a'))).toEqual([409, 'path_exists']);
    expect(await codeOf(await move('/tmp/w/m/zero', '/tmp/w/m/z'))).toEqual([404, 'path_not_found']);
    expect(await codeOf(await move('/tmp/w/m', '/tmp/w/m/a/m'))).toEqual([400, 'invalid_parameters']);
    const moved = await move('/tmp/w/m/one', '/tmp/w/m/x/y/eins');
    expect([moved.status, await moved.json()]).toMatchObject([200, { name: 'eins', size: 1 }]);
    const both = await Promise.all([move('/tmp/w/m/a', '/tmp/w/m/t'), move('/tmp/w/m/x', '/tmp/w/m/t')]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409]);
    expect(await codeOf(await call('DELETE', 'files?path=/tmp/w/m'))).toEqual([409, 'directory_not_empty']);
    expect((await call('DELETE', 'files?path=/tmp/w/m/c')).status).toBe(204);
    expect((await call('DELETE', 'files?path=/tmp/w/m&recursive=true')).status).toBe(204);
    expect(await codeOf(await call('DELETE', 'files?path=/tmp/w/m'))).toEqual([404, 'path_not_found']);
    await sh('ln -s /home /tmp/w/home');
    for (const path of ['/', '/home/user/', '/tmp/w/home/user']) {
      const refused = await call('DELETE', `files?path=${escaped(path)}&recursive=true`);
      expect([path, await codeOf(refused)]).toEqual([path, [409, 'path_protected']]);
    }
    expect(await codeOf(await move('/home/user', '/tmp/w/moved'))).toEqual([409, 'path_protected']);
    expect((await call('DELETE', 'files?path=/tmp/w/home')).status).toBe(204);
    expect(await sh('ls /home')).toBe('user\n');
  });

  it('must come and go as an archive', async () => {
    const archive = await packed([
      [{ name: './', type: 'directory' }],
      [{ name: 'sub/', type: 'directory', mode: 0o750 }],
      [{ name: 'sub/run.sh', mode: 0o755, mtime: new Date(1_600_000_000_000) }, 'echo hi'],
      [{ name: `${'long/'.repeat(40)}ünï` }, randomBytes(MB)],
      [{ name: 'sub/link', type: 'symlink', linkname: '../long' }],
      [{ name: 'hard', type: 'link', linkname: 'sub/run.sh' }],
    ]);
    await sh(
      'mkdir -p /tmp/w/arc/sub && echo old >/tmp/w/arc/sub/run.sh && echo kept >/tmp/w/arc/sub/kept && chmod 711 /tmp/w/arc',
    );
    // Idempotent by itself: the second one changes nothing more, and neither has a use for its key.
    for (const _turn of [1, 2]) {
      const unpacked = await call('PUT', 'archive?path=/tmp/w/arc', {
        body: archive,
        headers: { 'idempotency-key': 'the-same' },
      });
      expect([unpacked.status, await unpacked.json()]).toEqual([
        200,
        { path: '/tmp/w/arc', entries: 5, bytes: MB + 7 },
      ]);
    }
    expect(
      await sh('cd /tmp/w/arc && stat -c "%a %u %Y %n" . sub/run.sh | sed "s/ [0-9]* [.]$//"; ls -A . sub; cat hard'),
    ).toBe('711 0\n755 0 1600000000 sub/run.sh\n.:\nhard\nlong\nsub\n\nsub:\nkept\nlink\nrun.sh\necho hi');
    const down = await call('GET', 'archive?path=/tmp/w/arc');
    expect([down.status, down.headers.get('content-type'), down.headers.get('content-disposition')]).toEqual([
      200,
      'application/x-tar',
      'attachment; filename=arc.tar',
    ]);
    const entries = await unpackedEntries(await bytesOf(down));
    expect(entries.get('./sub/run.sh')?.toString()).toBe('echo hi');
    expect(entries.get(`./${'long/'.repeat(40)}ünï`)?.length).toBe(MB);
    expect((await call('HEAD', 'archive?path=/tmp/w/arc')).status).toBe(200);
    expect(await codeOf(await call('GET', 'archive?path=/etc/passwd'))).toEqual([409, 'path_not_directory']);
    expect(await codeOf(await call('GET', 'archive?path=/tmp/w/none'))).toEqual([404, 'path_not_found']);
  });

  it('must be refused in an archive that leaves its path, is cut off or is none, and leave nothing', async () => {
    const first: Content = [{ name: 'first' }, 'x'];
    const evil: Content[][] = [
      [first, [{ name: '../out' }, 'x']],
      [first, [{ name: 'l', type: 'symlink', linkname: '.' }], [{ name: 'l/x' }, 'x']],
      [first, [{ name: 'dev', type: 'character-device', devmajor: 1, devminor: 5 }]],
    ];
    await Promise.all(
      evil.map(async (entries) => {
        const answer = await call('PUT', 'archive?path=/tmp/w/evil', { body: await packed(entries) });
        expect([entries.at(-1)?.[0], await codeOf(answer)]).toEqual([entries.at(-1)?.[0], [400, 'invalid_parameters']]);
      }),
    );
    const whole = await packed([first, [{ name: 'second' }, randomBytes(MB)]]);
    for (const body of [whole.subarray(0, MB / 2), randomBytes(2048)]) {
      expect(await codeOf(await call('PUT', 'archive?path=/tmp/w/evil', { body }))).toEqual([
        400,
        'invalid_parameters',
      ]);
    }
    await eventually(async () =>
      expect(await sh('ls -A /tmp/w/evil; ls /tmp/w/out 2>&1')).toMatch(/^[^\n]*No such file/),
    );
  });

  it('must be refused where there is no room, and leave nothing', async () => {
    // Half of the container's memory.
    await sh('dd if=/dev/zero of=/dev/shm/full bs=5M count=25; df -k /dev/shm');
    expect(await codeOf(await put('/dev/shm/new', randomBytes(7 * MB)))).toEqual([507, 'no_space']);
    const archive = await packed([[{ name: 'big' }, randomBytes(7 * MB)]]);
    expect(await codeOf(await call('PUT', 'archive?path=/dev/shm/arc', { body: archive }))).toEqual([507, 'no_space']);
    expect(await sh('ls -A /dev/shm /dev/shm/arc; rm /dev/shm/full')).toBe('/dev/shm:\narc\nfull\n\n/dev/shm/arc:\n');
    const large = randomBytes(LIMIT_MB * MB + 1);
    expect(await codeOf(await put('/tmp/w/large', large))).toEqual([413, 'file_too_large']);
    expect(await codeOf(await call('PUT', 'archive?path=/tmp/w/large', { body: large }))).toEqual([
      413,
      'archive_too_large',
    ]);
    // Without a length.
    const body = function* (): Generator<Buffer> {
      for (let mb = 0; mb <= LIMIT_MB; mb += 1) yield randomBytes(MB);
    };
    const options = {
      method: 'PUT',
      headers: { authorization: `Bearer ${user.token}` },
      duplex: 'half',
      body: Readable.from(body()),
    };
    const streamed = await fetch(`${berth.url}${inside}/files?path=/tmp/w/large`, options as never);
    expect(await codeOf(streamed)).toEqual([413, 'file_too_large']);
    await eventually(async () => expect(await sh('ls -A /tmp/w | grep -E "berth|large"')).toBe(''));
  });

  it('must need no programs of the image, and believe none', async () => {
    const image = process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest';
    const debian = await user.api.running({ custom_image: image });
    const at = (path: string, method = 'GET', body?: Buffer | string): Promise<Response> =>
      fetch(`${berth.url}/api/containers/${debian.db_id}/${path}`, {
        method,
        headers: { authorization: `Bearer ${user.token}` },
        ...(body !== undefined && { body: new Uint8Array(Buffer.from(body)) }),
      });
    const root = (script: string): Promise<string> => real.exec(debian.id, ['bash', '-c', script], { user: '0' });
    await root('for program in stat dd mv; do printf "#!/usr/bin/yes -rw-\n" >/usr/bin/$program; done');
    await root('rm /bin/sh /usr/bin/tar /usr/bin/cat /usr/bin/mkdir');
    const content = randomBytes(MB);
    expect((await at('files?path=/home/user/a/%FF%0A', 'PUT', content)).status).toBe(201);
    expect((await bytesOf(await at('files?path=/home/user/a/%FF%0A'))).equals(content)).toBe(true);
    expect((await at('files?path=/home/user/a/%FF%0A', 'PUT', 'new')).status).toBe(200);
    expect(await (await at('files/list?path=/home/user/a')).json()).toMatchObject([
      { path_encoded: '/home/user/a/%FF%0A' },
    ]);
    const archive = await packed([[{ name: 'b/c' }, 'x'], [{ name: 'b/l', type: 'symlink', linkname: 'c' }]]);
    for (const time of [1, 2]) {
      expect([time, (await at('archive?path=/home/user', 'PUT', archive)).status]).toEqual([time, 200]);
    }
    const entries = await unpackedEntries(await bytesOf(await at('archive?path=/home/user')));
    expect([...entries.keys()].sort()).toEqual(expect.arrayContaining(['./a/', './b/c', './b/l']));
    expect((await at('files/move', 'POST')).status).toBe(400);
    expect((await at('files?path=/home/user/b&recursive=true', 'DELETE')).status).toBe(204);
    expect(await codeOf(await at('files?path=/home/user/b'))).toEqual([404, 'path_not_found']);
    expect(await codeOf(await at('files?path=/etc/shadow/x'))).toEqual([409, 'path_not_directory']);
    await user.api.stop(debian.db_id);
    expect(await codeOf(await at('files?path=/etc/passwd'))).toEqual([409, 'container_not_running']);
  });

  it('must be found by Rexec’s SDKs, as they ask for them', async () => {
    const go = { 'content-type': 'application/json', accept: 'application/json' };
    const made = await call('POST', 'files/mkdir', { headers: go, body: '{"path":"/home/user/rexec"}' });
    expect([made.status, await made.json()]).toMatchObject([201, { is_dir: true }]);
    await put('/home/user/rexec/a b.txt', 'text');
    const files = await call('GET', 'files/list?path=%2Fhome%2Fuser%2Frexec', { headers: go });
    expect(await files.json()).toEqual([
      {
        name: 'a b.txt',
        path: '/home/user/rexec/a b.txt',
        size: 4,
        mode: '-rw-r--r--',
        mod_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        is_dir: false,
      },
    ]);
    const download = await call('GET', 'files?path=%2Fhome%2Fuser%2Frexec%2Fa+b.txt', { headers: go });
    expect(await download.text()).toBe('text');
    const removed = await call('DELETE', 'files?path=%2Fhome%2Fuser%2Frexec%2Fa%20b.txt', { headers: go });
    expect(removed.status).toBe(204);
  });

  /** A container of an image whose user is not root. */
  async function visitor(): Promise<{
    get: (path: string) => Promise<Response>;
    call: (method: string, path: string) => Promise<Response>;
    remove: () => Promise<void>;
  }> {
    const image = 'berth/test-visitor:latest';
    await real.makeImage(
      image,
      'mkdir -p /root /tmp/w; chmod 700 /root; echo secret >/etc/shadow; chmod 600 /etc/shadow; ln -s /etc/shadow /tmp/w/shadow',
      'USER 1000',
    );
    const made = await user.api.running({ custom_image: image });
    const send = (method: string, path: string): Promise<Response> =>
      fetch(`${berth.url}/api/containers/${made.db_id}/files?path=${path}`, {
        method,
        headers: { authorization: `Bearer ${user.token}` },
        ...(method === 'PUT' && { body: 'x' }),
      });
    return {
      get: (path) => send('GET', path),
      call: send,
      remove: async () => void (await user.api.delete(made.db_id)),
    };
  }
});

type Content = [header: Headers, content?: Buffer | string];

async function packed(entries: readonly Content[]): Promise<Buffer> {
  const archive = pack();
  for (const [header, content = ''] of entries) archive.entry(header, Buffer.from(content));
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part);
  return Buffer.concat(parts);
}

async function unpackedEntries(archive: Buffer): Promise<Map<string, Buffer>> {
  const entries = new Map<string, Buffer>();
  const reader = extract();
  reader.end(archive);
  for await (const entry of reader) {
    const parts: Buffer[] = [];
    for await (const part of entry) parts.push(part);
    entries.set(entry.header.name, Buffer.concat(parts));
  }
  return entries;
}
