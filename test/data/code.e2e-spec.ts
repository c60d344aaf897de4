import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { ContainerEntity } from '../../src/containers/model/container.entity';
import { Database } from '../../src/database';
import { EngineError } from '../../src/engine';
import { EventStreamClient } from '../support/clients/event-stream-client';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';

const EXECUTION = 'abcdef0123456789'.repeat(2);
const HEAD = `HTTP/1.1 200 OK\r\nX-Execution-Id: ${EXECUTION}\r\nConnection: close\r\n\r\n`;
const END = { type: 'end_of_execution' };
const lines = (...all: object[]): string => all.map((line) => `${JSON.stringify(line)}\n`).join('');
const deep = (depth: number): string =>
  `{"type":"result","is_main_result":true,"json":${'['.repeat(depth)}${']'.repeat(depth)}}`;

describe('code that runs in a container', () => {
  const daemon = new FakeDaemon();
  /** What the server in the container does with a request. */
  let serve: (socket: Socket, request: string) => void;
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => undefined).on('close', () => open.delete(socket));
    let text = '';
    socket.on('data', (data) => {
      text += String(data);
      const [head = '', body] = text.split('\r\n\r\n');
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      if (body !== undefined && body.length >= length) serve(socket, text);
    });
  });
  let berth: Berth;
  let user: NewUser;
  let path: string;

  beforeAll(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    daemon.onConnect = async () => {
      const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
      await once(socket, 'connect');
      return socket;
    };
    berth = await Berth.start({ engine: new FakeEngine(daemon) });
    user = await berth.user();
    const { db_id: id } = await user.api.running({ env: { FOO: 'bar' } });
    path = `/api/containers/${id}/run-code`;
  });
  afterAll(async () => {
    await berth.stop();
    server.close();
  });

  const answers = (text: string) => (serve = (socket) => void socket.end(text));
  const run = (body: object = {}) => user.api.call('POST', path, { code: '1+1', ...body });

  it('gets its code, context and variables, and its output, results and end are one answer', async () => {
    let seen = '';
    serve = (socket, request) => {
      seen = request;
      const shown = { type: 'result', is_main_result: true, text: '2', png: 'iVBORw0KGgo=', 'x/y': { z: 1 } };
      socket.end(
        HEAD +
          lines(
            { type: 'number_of_executions', execution_count: 3 },
            { type: 'stdout', text: 'one\n' },
            { type: 'of a later version' },
            { type: 'stdout', text: 1 },
            { type: 'stderr', text: 'two\n' },
            shown,
            { type: 'error', name: 'NameError', value: 'x', traceback: 'at x' },
            END,
          ),
      );
    };
    const { status, body } = await run({ context: 'work', language: 'python', env: { OWN: 'x' }, timeout_ms: 1500 });
    expect([status, body]).toEqual([
      200,
      {
        execution: EXECUTION,
        running: false,
        execution_count: 3,
        interrupted: null,
        restarted: false,
        next: 8,
        stdout: 'one\n',
        stderr: 'two\n',
        results: [{ main: true, formats: { text: '2', png: 'iVBORw0KGgo=', 'x/y': { z: 1 } } }],
        exception: { name: 'NameError', value: 'x', traceback: 'at x' },
        truncated: false,
      },
    ]);
    const [head = '', asked = ''] = seen.split('\r\n\r\n');
    expect(head).toContain('POST /execute HTTP/1.1');
    expect(JSON.parse(asked)).toEqual({
      code: '1+1',
      language: 'python',
      context_id: 'work',
      create: true,
      env_vars: { OWN: 'x' },
      timeout: 1.5,
    });
    const variables = /x-berth-environment: (\S+)/i.exec(head)?.[1] ?? '';
    expect(JSON.parse(Buffer.from(variables, 'base64').toString())).toMatchObject({ FOO: 'bar' });
  });

  it('is streamed, with offsets, from which its output is read again', async () => {
    answers(HEAD + lines({ type: 'stdout', text: 'a' }, { type: 'interrupted', reason: 'timeout' }, END));
    const { url } = berth;
    const stream = await EventStreamClient.open({ url, token: user.token, path, body: { code: 'x' } });
    await eventually(() => expect(stream.ending).toBe('complete'));
    expect(stream.told.map(({ id, name }) => [id, name])).toEqual([
      ['0', 'started'],
      ['1', 'output'],
      ['3', 'end'],
    ]);
    expect(stream.told[2]?.data).toMatchObject({ execution: EXECUTION, interrupted: 'timeout', next: 3 });
    let asked = '';
    serve = (socket, request) => {
      asked = request.split('\r\n', 1)[0] ?? '';
      socket.end(HEAD + lines({ type: 'stderr', text: '[5 lines lost]', lost: 5 }, END));
    };
    const { body } = await user.api.call('GET', `${path}/${EXECUTION}?after=2`);
    expect([asked, body]).toEqual([
      `GET /executions/${EXECUTION}?after=2 HTTP/1.1`,
      expect.objectContaining({ next: 8, stderr: '[5 lines lost]' }),
    ]);
  });

  it('goes on without its client if it is detached, and is interrupted otherwise', async () => {
    serve = (socket) => void socket.write(HEAD);
    expect(await run({ detached: true })).toMatchObject({ status: 200, body: { execution: EXECUTION, running: true } });
    await eventually(() => expect(open.size).toBe(0));
    const leaving = new AbortController();
    const { api, token } = user;
    const asked = fetch(`${api.url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ code: 'x' }),
      signal: leaving.signal,
    });
    await eventually(() => expect(open.size).toBe(1));
    leaving.abort();
    await expect(asked).rejects.toThrow();
    await eventually(() => expect(open.size).toBe(0));
  });

  it('is refused with what the container says, without its control characters', async () => {
    answers('HTTP/1.1 404 Refused\r\nConnection: close\r\n\r\nno \x1b[31mruby');
    expect(await run({ language: 'ruby' })).toMatchObject({
      status: 422,
      body: { code: 'code_refused', reason: 'no  [31mruby' },
    });
    for (const execution of ['x', EXECUTION]) {
      const { status, body } = await user.api.call('GET', `${path}/${execution}`);
      expect([status, body['code']]).toEqual([404, 'execution_not_found']);
    }
  });

  it.each<[string, object, string]>([
    ['no code', { code: '' }, 'code'],
    ['code that is no text', { code: 1 }, 'code'],
    ['a language with a space', { language: 'a b' }, 'language'],
    ['a context with a slash', { context: '../x' }, 'context'],
    ['no time', { timeout_ms: 0 }, 'timeout_ms'],
    ['a field that is unknown', { more: 1 }, 'more'],
  ])('is refused with %s, naming the field', async (_what, body, field) => {
    const answer = await run(body);
    expect([answer.status, answer.body['details']]).toEqual([400, [expect.objectContaining({ field })]]);
  });

  it.each<[string, string, string]>([
    ['no HTTP', 'hello\r\n\r\n', 'code_failed'],
    ['another status', 'HTTP/1.1 500 No\r\n\r\n', 'code_failed'],
    ['no id', 'HTTP/1.1 200 OK\r\n\r\n', 'code_failed'],
    ['a line that is no JSON', `${HEAD}{\n`, 'code_failed'],
    ['a line that is no object', `${HEAD}1\n`, 'code_failed'],
    ['JSON that is deep', `${HEAD}${deep(100_000)}\n`, 'code_failed'],
    ['no end', HEAD + lines({ type: 'stdout', text: 'a' }), 'broken_off'],
    ['a line without end', HEAD + 'x'.repeat(10 * 1024 * 1024), 'output_too_large'],
    ['a head without end', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}`, 'code_failed'],
  ])('fails if a hostile container answers with %s', async (_what, text, code) => {
    answers(text);
    const answer = await run();
    expect([answer.status, answer.body['code']]).toEqual([502, code]);
    await eventually(() => expect(open.size).toBe(0));
  });

  it('is cut at a MiB of output and a hundred results', async () => {
    const text = 'x'.repeat(600 * 1024);
    const shown = Array.from({ length: 101 }, () => ({ type: 'result', is_main_result: false, text: 'x' }));
    answers(HEAD + lines({ type: 'stdout', text }, { type: 'stderr', text }, ...shown, END));
    const { body } = await run();
    expect([String(body['stdout']).length + String(body['stderr']).length, body['truncated']]).toEqual([2 ** 20, true]);
    expect(body['results']).toHaveLength(100);
  });

  it('is bounded in number', async () => {
    serve = () => undefined;
    const leaving = new AbortController();
    const headers = { authorization: `Bearer ${user.token}`, 'content-type': 'application/json' };
    const asked = Array.from({ length: 16 }, () =>
      fetch(`${berth.url}${path}`, { method: 'POST', headers, body: '{"code":"x"}', signal: leaving.signal }),
    );
    await eventually(() => expect(open.size).toBe(16));
    expect(await run()).toMatchObject({ status: 429, body: { code: 'too_many_commands', limit: 16 } });
    leaving.abort();
    await Promise.allSettled(asked);
  });

  it('is not available in a container that serves no kernels', async () => {
    const { onConnect } = daemon;
    daemon.onConnect = () => Promise.reject(new EngineError('port_closed', 'refused'));
    const { db_id: id } = await user.api.running();
    const runStartedAt = new Date(Date.now() - 60_000).toISOString();
    await berth.app.get(Database).manager.update(ContainerEntity, { id }, { runStartedAt });
    const { status, body } = await user.api.call('POST', `/api/containers/${id}/run-code`, { code: '1' });
    expect([status, body['code']]).toEqual([409, 'code_unavailable']);
    daemon.onConnect = onConnect;
  });
});
