import type { Answer, NewContainer } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { EventStreamClient } from '../support/clients/event-stream-client';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

jest.setTimeout(120_000);

interface TimedPiece {
  readonly data: string;
  readonly time: string;
}

describe('processes in a container on real Docker under gVisor', () => {
  const docker = new RealDocker();
  const environment = { INSTANCE_ID: `test-processes-${String(process.pid)}` };
  let database: TestDatabase;
  let berth: Berth;
  let user: TestUser;
  let container: NewContainer;

  beforeAll(async () => {
    database = await openTestDatabase();
    berth = await Berth.start({ database, environment });
    user = await berth.user();
    container = await user.api.running();
  });

  afterAll(async () => {
    await berth.stop();
    await docker.removeInstance(environment.INSTANCE_ID);
    await database.drop();
  });

  const call = (method: string, path = '', body?: object, { db_id } = container): Promise<Answer> =>
    user.api.call(method, `/api/containers/${db_id}/processes${path}`, body);
  const sh = async (script: string, more: object = {}, where = container): Promise<string> => {
    const { status, body } = await call('POST', '', { command: ['sh', '-c', script], ...more }, where);
    expect([status, body]).toEqual([201, expect.objectContaining({ status: 'running', program: 'sh' })]);
    return `/${String(body['id'])}`;
  };
  const follow = (
    id: string,
    { after, lastEventId, query = '' }: { after?: number; lastEventId?: string; query?: string } = {},
  ) =>
    EventStreamClient.open({
      url: berth.url,
      token: user.token,
      path: `/api/containers/${container.db_id}/processes${id}/output${query}`,
      after,
      lastEventId,
    });
  const page = async (id: string, query = ''): Promise<Answer['body']> =>
    (await call('GET', `${id}/output${query}`)).body;
  const textOf = (body: Answer['body'], of = 'stdout'): string =>
    (body['output'] as { stream: string; data: string }[]).reduce(
      (text, { stream, data }) => (stream === of ? text + data : text),
      '',
    );
  const seen = (): Promise<string> => docker.exec(container.id, ['ps']);

  it('must outlive their request, keep their output in pages, and be listed, with an event for their start and end', async () => {
    const events = await berth.record(user);
    const id = await sh('echo "$A $(pwd) $(id -u)"; echo no >&2; read line; echo "got $line"; exit 3', {
      env: { A: 'ä' },
      cwd: '/tmp',
      user: '1000',
    });
    const facts = { id: id.slice(1), container_id: container.db_id, program: 'sh' };
    await events.next('process_started', facts);
    await eventually(async () => expect(textOf(await page(id), 'stderr')).toBe('no\n'));
    const first = await page(id);
    expect(first).toMatchObject({ gap: false, is_over: false, next: 16 });
    expect(textOf(first)).toBe('ä /tmp 1000\n');
    expect(await call('POST', `${id}/stdin`, { data: 'bGluZQo=', encoding: 'base64' })).toMatchObject({ status: 200 });
    await events.next('process_exited', { ...facts, exit_code: 3, reason: 'exited' });
    const rest = await page(id, `?after=${String(first['next'])}`);
    expect([textOf(rest), rest['is_over']]).toEqual(['got line\n', true]);
    const view = { id: id.slice(1), user: '1000', status: 'exited', exit_code: 3, reason: 'exited', held_here: true };
    expect((await call('GET', id)).body).toMatchObject({ ...view, output_bytes: 25, exited_at: expect.any(String) });
    expect((await call('GET')).body).toMatchObject({ count: 1, processes: [view] });
    for (const [path, body] of [
      ['stdin', { data: 'x' }],
      ['signal', { signal: 'INT' }],
    ] as const) {
      expect(await call('POST', `${id}/${path}`, body)).toMatchObject({ status: 409, body: { code: 'process_ended' } });
    }
    expect((await call('DELETE', id)).status).toBe(200);
    expect(await call('GET', id)).toMatchObject({ status: 404, body: { code: 'process_not_found' } });
  });

  it('must be followed from any offset to their end, in whole characters', async () => {
    const id = await sh("printf 'a\\303'; read line; printf '\\274b'; cat; exit 4", {});
    const client = await follow(id);
    await eventually(() => expect(client.told).toHaveLength(1));
    expect(client.told[0]).toMatchObject({ id: '1', name: 'output', data: { stream: 'stdout', offset: 0, data: 'a' } });
    await call('POST', `${id}/stdin`, { data: '\n' });
    await eventually(() => expect(client.lastEventId).toBe('4'));
    const late = await follow(id, { lastEventId: '1' });
    expect(await call('POST', `${id}/stdin`, { data: 'end', close: true })).toMatchObject({ status: 200 });
    for (const each of [client, late]) {
      await eventually(() => expect(each.ending).toBe('complete'));
      expect(each.told.at(-1)).toMatchObject({ name: 'exit', data: { exit_code: 4, reason: 'exited' } });
    }
    const said = (told: EventStreamClient['told']): string =>
      told.map(({ data }) => (data as { data?: string }).data ?? '').join('');
    expect([said(client.told), said(late.told)]).toEqual(['aübend', 'übend']);
  });

  it('must be told with the times at which they were written, where that is wanted', async () => {
    const began = Date.now();
    const id = await sh("printf 'one\\ntwo\\n'; read line; printf three; read line; echo four >&2");
    await eventually(async () => expect(textOf(await page(id))).toBe('one\ntwo\n'));
    const seenAt = Date.now();
    // What comes within 10 ms may have one time.
    await eventually(() => expect(Date.now()).toBeGreaterThan(seenAt + 20));
    const typed = Date.now();
    await call('POST', `${id}/stdin`, { data: '\n' });
    // Its output and its errors are two pipes: only what has arrived in one comes before the other.
    await eventually(async () => expect(textOf(await page(id))).toBe('one\ntwo\nthree'));
    await call('POST', `${id}/stdin`, { data: '\n' });
    await eventually(async () => expect((await call('GET', id)).body).toMatchObject({ status: 'exited' }));
    const plain = (await page(id))['output'];
    expect(plain).toEqual([
      { stream: 'stdout', offset: 0, data: 'one\ntwo\nthree' },
      { stream: 'stderr', offset: 13, data: 'four\n' },
    ]);
    const client = await follow(id, { query: '?times=true' });
    await eventually(() => expect(client.ending).toBe('complete'));
    const followed = client.told.filter(({ name }) => name === 'output').map(({ data }) => data);
    for (const pieces of [(await page(id, '?times=true'))['output'], followed] as TimedPiece[][]) {
      expect(pieces.map(({ data }) => data).join('')).toBe('one\ntwo\nthreefour\n');
      expect(pieces.length).toBeGreaterThanOrEqual(3);
      const times = pieces.map(({ time }) => Date.parse(time));
      expect(times).toEqual(times.toSorted((one, other) => one - other));
      const [first = 0, last = 0] = [times[0], times.at(-1)];
      // The clock of the sandbox is the machine's, to a few milliseconds.
      expect([first > began - 20, first < typed, last > typed - 20]).toEqual([true, true, true]);
    }
  });

  it('must have their last MiB kept however much they write, and tell of the gap', async () => {
    const id = await sh('yes | head -c 3000000; echo end; read line');
    await eventually(async () => expect((await call('GET', id)).body['output_bytes']).toBe(3_000_004));
    const first = await page(id, '?limit=1048576');
    expect(first['gap']).toBe(true);
    const rest = await page(id, `?after=${String(first['next'])}&limit=1048576`);
    expect(rest['gap']).toBe(false);
    // The sandbox drops whole pieces of it.
    expect(textOf(first).length + textOf(rest).length).toBeGreaterThan(1_000_000);
    expect(`${textOf(first)}${textOf(rest)}`.slice(-6)).toBe('y\nend\n');
    const client = await follow(id);
    await eventually(() => expect(Number(client.lastEventId)).toBe(3_000_004));
    expect(client.told[0]).toMatchObject({ name: 'gap' });
    client.close();
    expect((await call('DELETE', id)).status).toBe(200);
  });

  it('must get signals, and end by request with all that they started', async () => {
    const events = await berth.record(user);
    const id = await sh('setsid sleep 7711 & sleep 7712');
    await eventually(async () => expect(await seen()).toContain('sleep 7711'));
    await call('POST', `${id}/signal`, { signal: 'CONT' });
    const asleep = await sh('trap "exit 9" INT; echo ready; while :; do sleep 0.05; done');
    await eventually(async () => expect(textOf(await page(asleep))).toBe('ready\n'));
    // Its own processes come and go meanwhile.
    for (const signal of ['CONT', 'CONT', 'INT']) {
      expect((await call('POST', `${asleep}/signal`, { signal })).status).toBe(200);
    }
    await events.next('process_exited', { id: asleep.slice(1), exit_code: 9, reason: 'exited' });
    const ending = Date.now();
    expect(await call('DELETE', id)).toMatchObject({ status: 200, body: { message: 'process ended' } });
    expect(Date.now() - ending).toBeLessThan(20_000);
    expect(await seen()).not.toContain('sleep 7711');
    await events.next('process_exited', { id: id.slice(1), reason: 'ended' });
  });

  it('must have a terminal where it is asked for', async () => {
    const id = await sh('tty; read line; echo "<$line>"', { tty: true });
    await eventually(async () => expect(textOf(await page(id))).toContain('\r\n'));
    await call('POST', `${id}/stdin`, { data: 'ü\r' });
    await eventually(async () => expect(textOf(await page(id))).toContain('<ü>\r\n'));
  });

  it('must take no more input than they read', async () => {
    const id = await sh('sleep 7721');
    const data = 'x'.repeat(60_000);
    await eventually(async () => {
      expect(await call('POST', `${id}/stdin`, { data })).toMatchObject({ status: 409, body: { code: 'stdin_full' } });
    });
    expect((await call('DELETE', id)).status).toBe(200);
  });

  it('must be refused without a program, and where their container does not run, with which they end', async () => {
    expect(await call('POST', '', { command: ['no-such-program'] })).toMatchObject({
      status: 422,
      body: { code: 'command_not_started' },
    });
    const other = await user.api.running();
    const { status } = await call('POST', '', { command: ['sleep', '7731'] }, other);
    expect(status).toBe(201);
    const events = await berth.record(user);
    await user.api.stop(other.db_id);
    await events.next('process_exited', { container_id: other.db_id, exit_code: null, reason: 'container_stopped' });
    await eventually(async () => {
      const { processes } = (await call('GET', '', undefined, other)).body as { processes: { reason: string }[] };
      expect(processes.map(({ reason }) => reason)).toEqual(['container_stopped']);
    });
    expect(await call('POST', '', { command: ['true'] }, other)).toMatchObject({ status: 409 });
    await user.api.delete(other.db_id);
  });

  it('must go on when their server is started again, with all of their output', async () => {
    const id = await sh('echo before; read line; echo "got $line"; exec sleep 7743');
    const client = await follow(id);
    await eventually(async () => expect(await seen()).toContain('read line'));
    await berth.stop();
    await eventually(() => expect(client.ending).toBe('complete'));
    berth = await Berth.start({ database, environment });
    user = berth.as(user);
    expect((await call('POST', `${id}/stdin`, { data: 'input\n' })).status).toBe(200);
    await eventually(async () => expect(await seen()).toContain('sleep 7743'));
    expect((await call('GET', `${id}/output`)).body).toMatchObject({
      output: [{ offset: 0, data: 'before\ngot input\n' }],
    });
    expect((await call('DELETE', id)).status).toBe(200);
    const events = await berth.record(user, 0);
    await events.next('process_exited', { id: id.slice(1), reason: 'ended' });
    expect(events.types()).not.toContain('process_lost');
  });
});
