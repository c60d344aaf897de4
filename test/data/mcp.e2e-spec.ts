import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import type { Scope } from '../../src/auth';
import { ANSWER_CHARS } from '../../src/mcp/answer-bounds';
import { Berth, type NewUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { SimulatedEngine } from '../../packages/simulator/src/simulated-engine';

type Answer = Readonly<Record<string, unknown>>;

/** The most that the list of tools may need in a model's context, in bytes: four are about a token. */
const MOST_TOOLS = 4_000 * 4;

describe('the tools for agents', () => {
  let berth: Berth;
  let owner: NewUser;
  let client: Client;
  let sandbox: string;

  beforeAll(async () => {
    berth = await Berth.start({
      engine: new SimulatedEngine({ folder: null, speed: Infinity }),
      environment: { PREVIEW_PORT: '0', PREVIEW_DOMAIN: 'preview.localhost', RATE_LIMIT_CREATES_PER_MINUTE: '12' },
    });
    owner = await berth.user();
    client = await clientOf(owner.token);
    const made = await call('sandbox_create', { name: 'work' });
    sandbox = String((made['sandbox'] as Answer)['id']);
  });

  afterAll(async () => {
    await client.close();
    await berth.stop();
  });

  describe('are listed', () => {
    it('with annotations and schemas, in at most 4,000 tokens', async () => {
      const { tools } = await client.listTools();
      expect(tools.map(({ name }) => name).sort()).toEqual([
        'command_run',
        'file_delete',
        'file_edit',
        'file_find',
        'file_read',
        'file_write',
        'port_link',
        'process_output',
        'process_start',
        'process_stop',
        'run_code',
        'sandbox_control',
        'sandbox_create',
        'sandbox_delete',
        'sandbox_list',
      ]);
      expect(Buffer.byteLength(JSON.stringify(tools))).toBeLessThanOrEqual(MOST_TOOLS);
      for (const { annotations, inputSchema, outputSchema } of tools) {
        expect(annotations).toMatchObject({ readOnlyHint: expect.any(Boolean), openWorldHint: false });
        expect(inputSchema).toMatchObject({ type: 'object', additionalProperties: false });
        expect(outputSchema).toMatchObject({ type: 'object' });
      }
      const isReading = tools.filter((each) => each.annotations?.readOnlyHint).map(({ name }) => name);
      expect(isReading.sort()).toEqual(['file_find', 'file_read', 'process_output', 'sandbox_list']);
    });

    it('to clients of the revision of 2026-07-28 and of earlier ones', async () => {
      const modern = await clientOf(owner.token, { versionNegotiation: { mode: 'auto' } });
      const [old, tools] = [await client.listTools(), await modern.listTools()];
      expect(tools.tools).toEqual(old.tools);
      expect((await modern.callTool({ name: 'sandbox_list', arguments: {} })).isError).toBeFalsy();
      await modern.close();
    });
  });

  describe('for sandboxes', () => {
    it('list, show, stop and start them, by name and by id', async () => {
      expect(await call('sandbox_list', {})).toMatchObject({ sandboxes: [{ id: sandbox, status: 'running' }] });
      expect(await call('sandbox_list', { sandbox: 'work' })).toMatchObject({ sandboxes: [{ id: sandbox }] });
      expect(await call('sandbox_control', { sandbox: 'work', action: 'stop' })).toMatchObject({ status: 'stopped' });
      const refused = await refusal('command_run', { sandbox, command: 'true' });
      expect(refused).toMatch(/^Error container_not_running: .* sandbox_control/);
      expect(await call('sandbox_control', { sandbox, action: 'start' })).toMatchObject({ status: 'running' });
    });

    it('snapshot, copy and delete them', async () => {
      const saved = await call('sandbox_control', { sandbox, action: 'snapshot', name: 'saved' });
      expect(saved).toMatchObject({ status: 'ready', snapshot: expect.any(String) });
      const restored = await call('sandbox_create', { snapshot: saved['snapshot'], name: 'restored' });
      expect(restored).toMatchObject({ sandbox: { name: 'restored', status: 'running' } });
      const copy = await call('sandbox_create', { fork_of: 'work', name: 'copy' });
      expect(copy).toMatchObject({ sandbox: { name: 'copy', status: 'running' } });
      expect(await call('sandbox_delete', { sandbox: 'copy' })).toMatchObject({ name: 'copy' });
      await call('sandbox_delete', { sandbox: 'restored' });
      expect(await refusal('sandbox_delete', { sandbox: 'copy' })).toMatch(/container_not_found/);
    });

    it('link to their ports', async () => {
      const link = await call('port_link', { sandbox, port: 3000, expires_in: 60 });
      expect(link).toMatchObject({ port: 3000, url: expect.stringContaining(`3000-${sandbox}.preview.localhost`) });
    });
  });

  describe('for programs', () => {
    it('run commands, with input, variables and a directory', async () => {
      const command = 'read line; echo "$line $NAME $PWD"; echo oops >&2; exit 3';
      const asked = { sandbox, command, cwd: '/tmp', env: { NAME: 'Ada' }, stdin: 'hi\n' };
      const ended = { exit_code: 3, stdout: 'hi Ada /tmp\n', stderr: 'oops\n', timed_out: false };
      expect(await call('command_run', asked)).toEqual(ended);
    });

    it('return the beginning and the end of long output, and say how to get the rest', async () => {
      const asked = { sandbox, command: 'echo first; for i in 1 2 3; do seq 1 9000; done; echo last' };
      const { text, fields } = await answerOf('command_run', asked);
      expect(text.length).toBeLessThanOrEqual(ANSWER_CHARS.usual);
      expect(fields).toMatchObject({ exit_code: 0, note: expect.stringContaining('redirect to a file') });
      expect(fields['stdout']).toMatch(/^first\n1\n2\n[^]*bytes left out\][^]*9000\nlast\n$/);
    });

    it('end a command at its timeout', async () => {
      const ended = await call('command_run', { sandbox, command: 'sleep 60', timeout_ms: 50 });
      expect(ended).toMatchObject({ timed_out: true, note: expect.stringContaining('process_start') });
    });

    it('start, read, list and stop processes', async () => {
      const command = 'echo one; echo two; sleep 60';
      const { process } = await call('process_start', { sandbox, command });
      const first = await until(
        () => call('process_output', { sandbox, process, wait_seconds: 5 }),
        ({ output }) => output === 'one\ntwo\n',
      );
      expect(first).toMatchObject({ status: 'running', gap: false, next: 8 });
      expect(await call('process_output', { sandbox, process, offset: 4 })).toMatchObject({ output: 'two\n' });
      const all = await call('process_output', { sandbox });
      expect(all).toMatchObject({
        processes: expect.arrayContaining([expect.objectContaining({ id: process, command })]),
      });
      for (let time = 0; time < 2; time += 1) {
        expect(await call('process_stop', { sandbox, process })).toMatchObject({ status: 'exited' });
      }
      expect(await call('process_output', { sandbox, process })).toMatchObject({ output: 'one\ntwo\n' });
    });

    it('fit pages of output with control characters into an answer', async () => {
      const { process } = await call('process_start', { sandbox, command: `seq 1 9000 | tr '\\n0' '\\001\\002'` });
      await until(
        () => call('process_output', { sandbox, process }),
        ({ status }) => status === 'exited',
      );
      const { text, fields } = await answerOf('process_output', { sandbox, process });
      expect(text.length).toBeLessThanOrEqual(ANSWER_CHARS.usual);
      const more = await call('process_output', { sandbox, process, offset: fields['next'] });
      expect(String(more['output']).length).toBeGreaterThan(1_000);
    });
  });

  describe('for files', () => {
    it('write and read text and bytes, whole and in ranges', async () => {
      const path = '/home/user/notes/a.txt';
      expect(await call('file_write', { sandbox, path, content: 'grüße\n' })).toMatchObject({ size: 8, created: true });
      const whole = { content: 'grüße\n', encoding: 'text', size: 8, next: null, etag: expect.any(String) };
      expect(await call('file_read', { sandbox, path })).toEqual(whole);
      const start = await call('file_read', { sandbox, path, length: 2 });
      expect(start).toMatchObject({ content: 'gr', next: 2 });
      const bytes = Buffer.from([0, 255, 1, 254]).toString('base64');
      await call('file_write', { sandbox, path: '/tmp/b', content: bytes, encoding: 'base64' });
      expect(await call('file_read', { sandbox, path: '/tmp/b' })).toMatchObject({
        content: bytes,
        encoding: 'base64',
      });
    });

    it('page through a file that an answer does not hold, without losing a character', async () => {
      const text = 'größe "\\"\n'.repeat(4_000);
      await call('command_run', { sandbox, command: 'cat > /tmp/large', stdin: text.slice(0, 20_000) });
      await call('command_run', { sandbox, command: 'cat >> /tmp/large', stdin: text.slice(20_000) });
      let read = '';
      let offset: number | null = 0;
      for (let pages = 0; offset !== null && pages < 20; pages += 1) {
        const { text: answer, fields }: { text: string; fields: Answer } = await answerOf('file_read', {
          sandbox,
          path: '/tmp/large',
          offset,
        });
        expect(answer.length).toBeLessThanOrEqual(ANSWER_CHARS.usual);
        read += String(fields['content']);
        offset = fields['next'] as number | null;
      }
      expect(read === text).toBe(true);
    });

    it('page through bytes that are no text, and in the smallest answers, without losing or repeating any', async () => {
      const path = '/tmp/odd';
      // é in Latin-1, in UTF-8, and the character that stands for bytes that are no text.
      const whole = Buffer.from('e974e920c3a920efbfbd'.repeat(200), 'hex');
      await call('file_write', { sandbox, path, content: whole.toString('base64'), encoding: 'base64' });
      for (const encoding of ['text', 'base64'] as const) {
        const read: string[] = [];
        let offset: number | null = 0;
        for (let pages = 0; offset !== null && pages < 20; pages += 1) {
          const asked = { sandbox, path, offset, encoding, max_chars: ANSWER_CHARS.min };
          const { text, fields }: { text: string; fields: Answer } = await answerOf('file_read', asked);
          expect(text.length).toBeLessThanOrEqual(ANSWER_CHARS.min);
          read.push(String(fields['content']));
          offset = fields['next'] as number | null;
        }
        expect(offset).toBeNull();
        if (encoding === 'text') expect(read.join('')).toBe(whole.toString());
        else expect(Buffer.concat(read.map((part) => Buffer.from(part, 'base64')))).toEqual(whole);
      }
      await call('file_write', { sandbox, path, content: 'a\u{fffd}grüße' });
      const shown = { content: 'a\u{fffd}gr', encoding: 'text', next: 6 };
      expect(await call('file_read', { sandbox, path, length: 7 })).toMatchObject(shown);
      expect(await call('file_read', { sandbox, path, offset: 6, length: 1 })).toMatchObject({
        content: 'ww==',
        next: 7,
      });
    });

    it('replace exactly one match, and lose nothing if two edit at once', async () => {
      const path = '/home/user/edit.txt';
      await call('file_write', { sandbox, path, content: 'a\nb\nb\n' });
      const twice = await refusal('file_edit', { sandbox, path, old_text: 'b', new_text: 'c' });
      expect(twice).toMatch(/old_text.*more than once/);
      expect(await refusal('file_edit', { sandbox, path, old_text: 'x', new_text: 'c' })).toMatch(/does not occur/);
      const edit = (old: string, replacement: string) =>
        client.callTool({ name: 'file_edit', arguments: { sandbox, path, old_text: old, new_text: replacement } });
      const edits = await Promise.all([edit('a\n', 'one\n'), edit('b\nb\n', 'two\n')]);
      const { content } = await call('file_read', { sandbox, path });
      const failed = edits.filter(({ isError }) => isError);
      expect(failed.map(textOf).every((text) => text.includes('precondition_failed'))).toBe(true);
      expect(content).toBe(failed.length === 0 ? 'one\ntwo\n' : edits[0].isError ? 'a\ntwo\n' : 'one\nb\nb\n');
    });

    it('write only over the version that was read, or only where nothing is', async () => {
      const path = '/home/user/once.txt';
      await call('file_write', { sandbox, path, content: '1', create_only: true });
      const again = await refusal('file_write', { sandbox, path, content: '2', create_only: true });
      expect(again).toMatch(/precondition_failed.*file_read/);
      const { etag } = await call('file_read', { sandbox, path });
      expect(await call('file_write', { sandbox, path, content: '22', etag })).toMatchObject({ created: false });
      expect(await refusal('file_write', { sandbox, path, content: '3', etag })).toMatch(/precondition_failed/);
    });

    it('list, search and delete', async () => {
      await call('file_write', { sandbox, path: '/home/user/tree/x.ts', content: 'let todo = 1;\n' });
      const listed = await call('file_find', { sandbox, path: '/home/user/tree' });
      expect(listed).toMatchObject({ complete: true, entries: [{ path: '/home/user/tree/x.ts', is_dir: false }] });
      const found = await call('file_find', { sandbox, name: '*.ts', content: 'todo' });
      expect(found).toMatchObject({ entries: [{ path: '/home/user/tree/x.ts', line: 1, text: 'let todo = 1;' }] });
      const kept = await refusal('file_delete', { sandbox, path: '/home/user/tree' });
      expect(kept).toMatch(/directory_not_empty.*recursive/);
      await call('file_delete', { sandbox, path: '/home/user/tree', recursive: true });
      expect(await refusal('file_read', { sandbox, path: '/home/user/tree/x.ts' })).toMatch(
        /path_not_found.*file_find/,
      );
    });
  });

  describe('refuse', () => {
    it("other users' sandboxes, and what a scope is missing for", async () => {
      const stranger = await clientOf((await berth.user()).token);
      for (const [name, more] of Object.entries(ARGUMENTS)) {
        if (name === 'sandbox_list' || name === 'sandbox_create') continue;
        expect(await refusal(name, { ...more, sandbox }, stranger)).toMatch(/^Error not_authorized: /);
      }
      const source = { fork_of: sandbox };
      expect(await refusal('sandbox_create', source, stranger)).toMatch(/^Error not_authorized: /);
      expect(await call('sandbox_list', {}, stranger)).toEqual({ sandboxes: [], next: null });
      await stranger.close();
      for (const scope of ['write', 'exec'] as const) {
        const lacking = (['read', 'write', 'exec', 'admin'] as const).filter((each) => each !== scope);
        const scopes: readonly Scope[] = scope === 'write' ? ['read', 'exec'] : lacking;
        const { token } = await berth.user('pro', scopes);
        const weak = await clientOf(token);
        for (const [name, more] of Object.entries(ARGUMENTS)) {
          const isOf = name.startsWith('sandbox_') ? 'write' : 'exec';
          if (name === 'sandbox_list' || isOf !== scope) continue;
          const asked = name === 'sandbox_create' ? {} : { ...more, sandbox };
          expect(await refusal(name, asked, weak)).toMatch(/^Error insufficient_permissions: .*scope/);
        }
        await weak.close();
      }
    });

    it('unknown tools and faulty arguments, naming the field, and never a stack', async () => {
      await expect(client.callTool({ name: 'rm_rf', arguments: {} })).rejects.toMatchObject({ code: -32602 });
      const faulty: readonly (readonly [string, object, RegExp])[] = [
        ['command_run', { sandbox, command: 7 }, /command/],
        ['command_run', { sandbox, command: 'true', shell: 'bash' }, /shell/],
        ['command_run', { sandbox, command: 'true', env: { 'a b': 'c' } }, /invalid_parameters[^]*"env"/],
        ['command_run', { sandbox, command: 'true', cwd: 'tmp' }, /invalid_parameters[^]*"cwd"/],
        ['sandbox_create', { name: 'a b' }, /invalid_parameters[^]*"name"/],
        ['sandbox_create', { memory_mb: 1 }, /invalid_parameters[^]*"memory_mb"/],
        ['sandbox_create', { fork_of: sandbox, memory_mb: 512 }, /invalid_parameters[^]*"memory_mb"/],
        ['file_read', { sandbox, path: 'tmp' }, /invalid_parameters[^]*"path"/],
        ['file_read', { sandbox, path: '/home/user', offset: -1 }, /offset/],
        ['file_write', { sandbox, path: '/tmp/x', content: '%%', encoding: 'base64' }, /"content"/],
        ['process_output', { sandbox, process: 'x' }, /process_not_found.*process_output/],
        ['file_find', { sandbox, path: '/home/user', name: 'a', cursor: 'b' }, /"cursor"/],
        ['port_link', { sandbox, port: 70_000 }, /port/],
      ];
      for (const [name, asked, said] of faulty) {
        const text = await refusal(name, asked);
        expect(text).toMatch(said);
        expect(text).not.toMatch(/\n\s+at |node_modules|\.ts:/);
      }
    });

    it('bodies that are too large or no message, other methods, and pages of foreign hosts', async () => {
      const large = await send({ jsonrpc: '2.0', id: 1, method: 'ping', params: { x: 'x'.repeat(70_000) } });
      expect([large.status, (await large.json()) as object]).toMatchObject([413, { code: 'body_too_large' }]);
      const odd = await send({ hello: 'world' });
      expect(odd.status).toBe(400);
      expect(await odd.json()).toMatchObject({ jsonrpc: '2.0', error: { code: expect.any(Number) } });
      for (const body of ['', '[]', 'nonsense']) {
        const headers = { ...bearer(owner.token), 'content-type': 'application/json' };
        const empty = await fetch(`${berth.url}/mcp`, { method: 'POST', body, headers });
        expect([empty.status, await empty.json()]).toMatchObject([400, { details: [{ field: 'body' }] }]);
      }
      for (const method of ['GET', 'DELETE', 'PUT']) {
        const answer = await fetch(`${berth.url}/mcp`, { method, headers: bearer(owner.token) });
        expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST']);
      }
      const page = await send({ jsonrpc: '2.0', id: 1, method: 'ping' }, { origin: 'https://evil.example' });
      expect(page.status).toBe(421);
      expect((await send({ jsonrpc: '2.0', id: 1, method: 'ping' }, { origin: berth.url })).status).toBe(200);
    });

    it('subscriptions, since the tools never change', async () => {
      const answer = await send(
        { jsonrpc: '2.0', id: 1, method: 'subscriptions/listen', params: { _meta: ENVELOPE, notifications: {} } },
        { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'subscriptions/listen' },
      );
      expect(await answer.json()).toMatchObject({ error: { code: expect.any(Number) } });
    });

    it('creations beyond the rate limit', async () => {
      const user = await berth.user();
      const other = await clientOf(user.token);
      const refusals: string[] = [];
      for (let time = 0; time < 13; time += 1) {
        refusals.push(await refusal('sandbox_create', { fork_of: sandbox }, other));
      }
      expect(refusals.at(11)).toMatch(/^Error not_authorized/);
      expect(refusals.at(12)).toMatch(/^Error rate_limit_exceeded: .*Retry after \d+ s/);
      await other.close();
    });
  });

  it('say without a token where their metadata is', async () => {
    const answer = await fetch(`${berth.url}/mcp`, { method: 'POST' });
    expect(answer.status).toBe(401);
    const metadata = `${berth.url}/.well-known/oauth-protected-resource`;
    const challenge = `Bearer realm="berth", resource_metadata="${metadata}/mcp"`;
    expect(answer.headers.get('www-authenticate')).toBe(challenge);
    for (const url of [metadata, `${metadata}/mcp`]) {
      expect(await (await fetch(url)).json()).toEqual({
        resource: `${berth.url}/mcp`,
        resource_name: 'Berth',
        scopes_supported: ['read', 'write', 'exec'],
        bearer_methods_supported: ['header'],
      });
    }
  });

  it('are audited as the routes that do the same', async () => {
    await refusal('command_run', { sandbox: 'nothing-here', command: 'true' });
    const { body } = await owner.api.call('GET', '/api/audit?limit=200');
    const entries = body['entries'] as readonly Answer[];
    const actions = new Set(entries.map((entry) => entry['action']));
    for (const action of ['container.create', 'container.fork', 'container.exec', 'container.file_write']) {
      expect(actions).toContain(action);
    }
    expect(entries).toContainEqual(
      expect.objectContaining({ action: 'container.exec', outcome: 'container_not_found', target_id: 'nothing-here' }),
    );
    const made = entries.filter((entry) => entry['action'] === 'container.create' && entry['outcome'] === 'ok');
    expect(made.map((entry) => entry['container_id'])).toContain(sandbox);
    const ran = entries.find((entry) => entry['action'] === 'container.exec' && entry['outcome'] === 'ok');
    expect(ran).toMatchObject({ container_id: sandbox, detail: { program: '/bin/sh' } });
  });

  it('are sixteen at once for each user', async () => {
    const gone = new AbortController();
    const asked = { name: 'command_run', arguments: { sandbox, command: 'sleep 600' } };
    const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: asked };
    const running = Array.from({ length: 16 }, () => send(message, {}, gone.signal).catch(() => 'gone'));
    const refused = await until(
      () => client.callTool({ name: 'sandbox_list' }),
      ({ isError }) => isError === true,
    );
    expect(textOf(refused)).toMatch(/^Error too_many_connections: .*fewer at once/);
    gone.abort();
    await Promise.all(running);
    await until(
      () => client.callTool({ name: 'sandbox_list' }),
      ({ isError }) => isError !== true,
    );
  });

  it('end a command whose client has gone', async () => {
    const gone = new AbortController();
    const asked = { name: 'command_run', arguments: { sandbox, command: 'touch /tmp/begun; sleep 600' } };
    const running = send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: asked }, {}, gone.signal);
    const reading = running.then((answer) => answer.text()).catch(() => 'gone');
    await until(
      () => client.callTool({ name: 'file_read', arguments: { sandbox, path: '/tmp/begun' } }),
      ({ isError }) => !isError,
    );
    gone.abort();
    await expect(reading).resolves.toBe('gone');
    await until(
      () => owner.api.call('GET', '/api/audit?action=container.exec&limit=1'),
      (answer) => (answer.body['entries'] as readonly Answer[])[0]?.['outcome'] === 'client_gone',
    );
  });

  it('end a wait for output whose client has gone, or whose token is revoked', async () => {
    const { process } = await call('process_start', { sandbox, command: 'sleep 600' });
    const wait = (sandboxName: string, token: string, signal?: AbortSignal): Promise<string> => {
      const asked = { sandbox: sandboxName, process, wait_seconds: 45 };
      const message = { name: 'process_output', arguments: asked };
      const sent = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: message };
      return send(sent, bearer(token), signal).then((answer) => answer.text());
    };
    const lastLook = async (outcome: string): Promise<void> => {
      await until(
        () => owner.api.call('GET', '/api/audit?action=process.read&limit=1'),
        (answer) => (answer.body['entries'] as readonly Answer[])[0]?.['outcome'] === outcome,
      );
    };
    const gone = new AbortController();
    const left = wait('work', owner.token, gone.signal).catch(() => 'gone');
    await lastLook('pending');
    gone.abort();
    await expect(left).resolves.toBe('gone');
    await lastLook('client_gone');
    const made = await owner.api.call('POST', '/api/tokens', { name: 'short', scopes: ['read', 'exec'] });
    const refused = wait('work', String(made.body['token']));
    await lastLook('pending');
    await owner.api.call('DELETE', `/api/tokens/${String(made.body['id'])}`);
    expect(await refused).toContain('Error unauthorized: ');
    await call('process_stop', { sandbox, process });
  });

  describe('over standard input and output', () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-mcp-'));
    const program = join(folder, 'berth.cjs');

    beforeAll(async () => {
      await promisify(execFile)(process.execPath, ['packages/cli/scripts/build.mjs', program]);
    });

    afterAll(() => rmSync(folder, { recursive: true }));

    it.each(['legacy', 'auto'] as const)('serve a client of mode %s, and end with its input', async (mode) => {
      const stdio = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } });
      const env = environment(owner.token);
      const transport = new StdioClientTransport({ command: process.execPath, args: [program, 'mcp'], env });
      await stdio.connect(transport);
      expect((await stdio.listTools()).tools).toEqual((await client.listTools()).tools);
      const ran = await call('command_run', { sandbox, command: 'echo over stdio' }, stdio);
      expect(ran).toMatchObject({ exit_code: 0, stdout: 'over stdio\n' });
      const { pid } = transport;
      await stdio.close();
      await eventually(() => expect(() => process.kill(pid ?? 0, 0)).toThrow('ESRCH'));
    });

    it('answer what was asked before the end of the input, and say on stderr what is wrong', async () => {
      const lines = ['{"jsonrpc":"2.0","id":7,"method":"ping"}', 'nonsense', ''].join('\n');
      const answered = await berthMcp(lines, owner.token);
      expect(answered).toMatchObject({ code: 0, stderr: expect.stringMatching(/^berth: mcp: .*not a JSON object\n$/) });
      const messages = answered.stdout.trimEnd().split('\n');
      expect(messages.map((line) => JSON.parse(line) as Answer)).toEqual(
        expect.arrayContaining([
          { jsonrpc: '2.0', id: null, error: { code: -32_700, message: expect.any(String) } },
          expect.objectContaining({ id: 7, result: expect.any(Object) }),
        ]),
      );
      const refused = await berthMcp(lines, `berth_${'0'.repeat(64)}`);
      expect(refused.stdout).toContain('"id":7,"error":{"code":-32000,"message":"unauthorized: ');
      expect(refused.stderr).toContain('berth login URL');
    });

    it('end the running work at a signal', async () => {
      const child = spawn(process.execPath, [program, 'mcp'], { env: environment(owner.token) });
      const command = 'touch /tmp/by-signal; sleep 600';
      const asked = { name: 'command_run', arguments: { sandbox, command, timeout_ms: 600_000 } };
      child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: asked })}\n`);
      await until(
        () => client.callTool({ name: 'file_read', arguments: { sandbox, path: '/tmp/by-signal' } }),
        ({ isError }) => !isError,
      );
      child.kill('SIGTERM');
      const [code] = (await once(child, 'exit')) as [number | null];
      expect(code).toBe(0);
      await until(
        () => owner.api.call('GET', '/api/audit?action=container.exec&limit=1'),
        (answer) => (answer.body['entries'] as readonly Answer[])[0]?.['outcome'] === 'client_gone',
      );
    });

    function environment(token: string): Record<string, string> {
      return { PATH: process.env['PATH'] ?? '', HOME: folder, BERTH_URL: berth.url, BERTH_TOKEN: token };
    }

    async function berthMcp(input: string, token: string): Promise<{ code: number; stdout: string; stderr: string }> {
      const child = spawn(process.execPath, [program, 'mcp'], { env: environment(token) });
      child.stdin.end(input);
      const [stdout, stderr, [code]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, 'exit') as Promise<[number]>,
      ]);
      return { code, stdout, stderr };
    }
  });

  async function clientOf(token: string, options: object = {}): Promise<Client> {
    const made = new Client({ name: 'test', version: '1' }, options);
    await made.connect(
      new StreamableHTTPClientTransport(new URL(`${berth.url}/mcp`), { requestInit: { headers: bearer(token) } }),
    );
    return made;
  }

  async function answerOf(name: string, args: object, by = client): Promise<{ text: string; fields: Answer }> {
    const result = await by.callTool({ name, arguments: { ...args } });
    const text = textOf(result);
    if (result.isError) throw new Error(text);
    expect(JSON.parse(text)).toEqual(result.structuredContent);
    return { text, fields: result.structuredContent as Answer };
  }

  async function call(name: string, args: object, by = client): Promise<Answer> {
    return (await answerOf(name, args, by)).fields;
  }

  async function refusal(name: string, args: object, by = client): Promise<string> {
    const result = await by.callTool({ name, arguments: { ...args } });
    expect(result).toMatchObject({ isError: true });
    return textOf(result);
  }

  function send(message: object, headers: Readonly<Record<string, string>> = {}, signal?: AbortSignal) {
    return fetch(`${berth.url}/mcp`, {
      method: 'POST',
      body: JSON.stringify(message),
      headers: {
        ...bearer(owner.token),
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...headers,
      },
      ...(signal && { signal }),
    });
  }
});

/** Valid arguments of each tool, but for the sandbox. */
const ARGUMENTS: Readonly<Record<string, object>> = {
  sandbox_create: {},
  sandbox_list: {},
  sandbox_control: { action: 'stop' },
  sandbox_delete: {},
  command_run: { command: 'true' },
  process_start: { command: 'true' },
  process_output: { process: randomUUID() },
  process_stop: { process: randomUUID() },
  file_read: { path: '/etc/passwd' },
  file_write: { path: '/tmp/x', content: '' },
  file_edit: { path: '/tmp/x', old_text: 'a', new_text: 'b' },
  file_find: {},
  file_delete: { path: '/tmp/x' },
  port_link: { port: 80 },
};

const ENVELOPE = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
};

/** Repeats a look until it shows what is waited for. */
function until<T>(look: () => Promise<T>, isReached: (seen: T) => boolean): Promise<T> {
  return eventually(async () => {
    const seen = await look();
    if (!isReached(seen)) throw new Error(`not reached: ${JSON.stringify(seen)}`);
    return seen;
  });
}

function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}

function textOf({ content }: Awaited<ReturnType<Client['callTool']>>): string {
  return (content as readonly { readonly text: string }[]).map(({ text }) => text).join('');
}
