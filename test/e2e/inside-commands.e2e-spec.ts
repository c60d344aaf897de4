import { TokenService } from '../../src/auth';
import { type Answer, type NewContainer, SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { EventStreamClient } from '../support/clients/event-stream-client';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';

jest.setTimeout(120_000);

describe('commands in a container on real Docker under gVisor', () => {
  const docker = new RealDocker();
  const instance = `test-commands-${String(process.pid)}`;
  const liar = `berth/lying-shell-${String(process.pid)}:1`;
  let berth: Berth;
  let user: TestUser;
  let container: NewContainer;
  let other: NewContainer;

  beforeAll(async () => {
    berth = await Berth.start({ environment: { INSTANCE_ID: instance } });
    user = await berth.user('pro', ['read', 'write', 'exec']);
    container = await user.api.running({ env: { OWN: 'own', BOTH: 'container' } });
    other = await user.api.running({ env: { MODE: 'old', GONE: '1' } });
  });

  afterAll(async () => {
    await berth.stop();
    await docker.removeInstance(instance);
    await docker.docker
      .getImage(liar)
      .remove({ force: true })
      .catch(() => undefined);
  });

  const run = (command: readonly string[], more: object = {}, { db_id } = container): Promise<Answer> =>
    user.api.call('POST', `/api/containers/${db_id}/exec`, { command, ...more });
  const sh = (script: string, more: object = {}, of = container): Promise<Answer> =>
    run(['sh', '-c', script], more, of);
  const stream = (body: object, { db_id } = container): Promise<EventStreamClient> =>
    EventStreamClient.open({ url: berth.url, token: user.token, path: `/api/containers/${db_id}/exec`, body });
  const processes = (): Promise<string> => docker.exec(container.id, ['ps']);

  it('must answer with what it wrote to each output, and its exit code, whatever that is', async () => {
    const script = 'pwd; id -u; cat; echo "$OWN $BOTH $MORE" >&2; exit 7';
    const answer = await sh(script, {
      cwd: '/tmp',
      user: '1000',
      env: { BOTH: 'command', MORE: 'ü' },
      stdin: 'a\n€',
    });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      exit_code: 7,
      exitCode: 7,
      stdout: '/tmp\n1000\na\n€',
      stderr: 'own command ü\n',
      truncated: false,
      timed_out: false,
      duration_ms: expect.any(Number),
    });
    // No input is the end of one, arguments are no shell text, and a null is what was left out.
    expect((await run(['cat'], { stdin: null, user: null })).body).toMatchObject({ exit_code: 0, stdout: '' });
    expect((await run(['echo', '$OWN; false'])).body).toMatchObject({ exit_code: 0, stdout: '$OWN; false\n' });
    expect((await user.api.get(container.db_id)).body['idle_seconds']).toBeLessThanOrEqual(60);
  });

  it('must have the present variables, and leave their container and its other programs as they are', async () => {
    const { db_id, id, name } = other;
    const call = (method: string, path: string, body?: object) =>
      user.api.call(method, `/api/containers/${db_id}/${path}`, body);
    const script = 'echo "${MODE-unset}/${GONE-unset}"';
    const waiting = `while [ ! -e /tmp/go ]; do sleep 0.1; done; ${script}`;
    const { body: process } = await call('POST', 'processes', { command: ['sh', '-c', waiting] });
    const { State } = await docker.inspect(id);
    const updated = await user.api.update(db_id, { name, ...SMALL, env: { MODE: 'new' } });
    expect(updated).toMatchObject({ status: 200, body: { restarted: false, container: { id } } });
    expect((await sh(`${script}; : >/tmp/go`, {}, other)).body['stdout']).toBe('new/unset\n');
    await eventually(async () => {
      const output = await call('GET', `processes/${String(process['id'])}/output`);
      expect(JSON.stringify(output.body)).toContain('old/1');
    });
    const after = await docker.inspect(id);
    expect([after.State.Pid, after.State.StartedAt]).toEqual([State.Pid, State.StartedAt]);
    expect(JSON.stringify(after)).not.toMatch(/MODE|GONE/);
    // As an operator.
    expect(await docker.exec(id, ['sh', '-c', script])).toBe('unset/unset\n');
    // What hides every program from the user does not hide it from Berth.
    await user.api.update(db_id, { name, ...SMALL, env: { PATH: '/nowhere', MODE: 'new' } });
    expect((await sh('true', {}, other)).status).toBe(422);
    expect((await call('GET', 'files/list?path=/tmp')).body).toMatchObject([{ name: 'go' }]);
    const { body: sleeping } = await call('POST', 'processes', { command: ['/bin/sleep', '600'] });
    expect((await call('DELETE', `processes/${String(sleeping['id'])}`)).status).toBe(200);
  });

  it('must show bytes that are no text as U+FFFD, or all as Base64', async () => {
    const script = "printf 'a\\377\\303\\274'; printf '\\303' >&2";
    expect((await sh(script)).body).toMatchObject({ stdout: 'a\uFFFDü', stderr: '\uFFFD' });
    const bytes = await sh(script, { encoding: 'base64' });
    expect(Buffer.from(String(bytes.body['stdout']), 'base64')).toEqual(Buffer.from([97, 255, 195, 188]));
  });

  it('must go on beyond the limit of its output, which is cut between characters', async () => {
    const flood = await sh('yes | head -c 3000000; echo done >/tmp/done');
    expect(flood.body).toMatchObject({ exit_code: 0, truncated: true });
    expect(String(flood.body['stdout']).length).toBe(1024 * 1024);
    expect((await sh('cat /tmp/done')).body['stdout']).toBe('done\n');
    const cut = await sh('printf aü', { max_output_bytes: 2 });
    expect(cut.body).toMatchObject({ stdout: 'a', stderr: '', truncated: true });
  });

  const FAMILY = (seconds: number): string => `echo begun; setsid sleep ${String(seconds)} & sleep ${String(seconds)}`;

  it('must be ended with all that it started when its time is over', async () => {
    // Long enough for the command to say that it has begun, on a busy machine.
    const { status, body } = await sh(`trap "" TERM; ${FAMILY(7611)}`, { timeout_ms: 2_000 });
    expect([status, body]).toEqual([200, expect.objectContaining({ stdout: 'begun\n', timed_out: true })]);
    expect(body['exit_code']).toBeGreaterThan(128);
    expect(body['duration_ms']).toBeGreaterThanOrEqual(2_000);
    expect(await processes()).not.toContain('sleep 7611');
  });

  it('must be ended with all that it started when its client goes', async () => {
    const leaving = new AbortController();
    const whole = fetch(`${berth.url}/api/containers/${container.db_id}/exec`, {
      method: 'POST',
      headers: { authorization: `Bearer ${user.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ command: ['sh', '-c', FAMILY(7621)] }),
      signal: leaving.signal,
    });
    whole.catch(() => undefined);
    // One that has stopped reading a flood goes as well as any other.
    const unread = await stream({ command: ['sh', '-c', 'sleep 7622 & exec yes'] });
    unread.pause();
    await eventually(async () => expect(await processes()).toMatch(/(?=[^]*7621)[^]*7622/));
    leaving.abort();
    unread.close();
    await eventually(async () => expect(await processes()).not.toMatch(/sleep 762|yes/));
  });

  it('must be ended when the token of its client ends', async () => {
    const tokens = berth.app.get(TokenService);
    const { text, token } = await tokens.issue({ userId: user.id, name: 'short', scopes: ['exec'], expiresAt: null });
    const client = await EventStreamClient.open({
      url: berth.url,
      token: text,
      path: `/api/containers/${container.db_id}/exec`,
      body: { command: ['sleep', '7631'] },
    });
    await eventually(async () => expect(await processes()).toContain('sleep 7631'));
    expect((await user.api.call('DELETE', `/api/tokens/${token.id}`)).status).toBe(200);
    await eventually(() => expect(client.ending).toBe('complete'));
    expect(client.told.at(-1)).toMatchObject({ name: 'failed', data: { code: 'unauthorized' } });
    expect(await processes()).not.toContain('sleep 7631');
  });

  it('must send what it writes as it comes, whole characters in order, and its end last', async () => {
    const goOn = '/tmp/go-on';
    const rest = "printf '\\274'; echo no >&2; printf '\\377'; exit 3";
    const script = `printf 'a\\303'; until [ -e ${goOn} ]; do sleep 0.1; done; ${rest}`;
    const client = await stream({ command: ['sh', '-c', script] });
    expect([client.status, client.headers['content-type']]).toEqual([200, 'text/event-stream']);
    const first = { name: 'output', data: { stream: 'stdout', data: 'a' } };
    await eventually(() => expect(client.told[0]).toMatchObject(first));
    expect((await run(['sh', '-c', `: >${goOn}`])).status).toBe(200);
    await eventually(() => expect(client.ending).toBe('complete'));
    const text = (of: string): string =>
      client.told
        .map(({ data }) => data as { stream?: string; data: string })
        .reduce((all, { stream: from, data }) => (from === of ? all + data : all), '');
    expect([text('stdout'), text('stderr')]).toEqual(['aü\uFFFD', 'no\n']);
    expect(client.told.at(-1)).toMatchObject({
      name: 'result',
      data: { exit_code: 3, timed_out: false, truncated: false, duration_ms: expect.any(Number) },
    });
  });

  it.each<[string, string[], object]>([
    ['program', ['no-such-program'], {}],
    ['program, which has no name,', [''], {}],
    ['program that is a directory', ['/tmp'], {}],
    ['working directory', ['true'], { cwd: '/nowhere' }],
    ['user', ['true'], { user: 'nobody-knows' }],
  ])("must be a 422 where its %s is none, without Docker's words", async (_what, command, more) => {
    const started = await run(command, more);
    expect(started).toMatchObject({ status: 422, body: { code: 'command_not_started' } });
    expect(Object.keys(started.body).sort()).toEqual(['code', 'error', 'request_id']);
    const client = await stream({ command, ...more });
    expect([client.status, client.headers['content-type']]).toEqual([422, 'application/json; charset=utf-8']);
  });

  it('must say so where the container ends under it, and where it does not run', async () => {
    // By their paths: the variables of the container have none.
    const whole = run(['/bin/sleep', '7651'], {}, other);
    const client = await stream({ command: ['/bin/sleep', '7652'] }, other);
    await eventually(async () => expect(await docker.exec(other.id, ['ps'])).toMatch(/(?=[^]*7651)[^]*7652/));
    expect((await user.api.stop(other.db_id)).status).toBe(200);
    expect(await whole).toMatchObject({ status: 409, body: { code: 'container_not_running' } });
    await eventually(() => expect(client.ending).toBe('complete'));
    expect(client.told.at(-1)).toMatchObject({ name: 'failed', data: { code: 'container_not_running' } });
    expect(await run(['true'], {}, other)).toMatchObject({ status: 409, body: { code: 'container_not_running' } });
  });

  it('must be answered in time though the shell of its image lies, without end', async () => {
    await docker.makeImageWithFloodingShell(liar);
    const lying = await user.api.running({ custom_image: liar });
    const { status, body } = await run(['sleep', '7661'], { timeout_ms: 300 }, lying);
    expect([status, body]).toEqual([200, expect.objectContaining({ timed_out: true, stdout: '' })]);
    expect((await run(['sh', '-c', 'x'], { timeout_ms: 2_000 }, lying)).body).toMatchObject({ truncated: true });
  });

  it('must be in the audit by its route and program alone, and in the answer 503 where the server ends', async () => {
    const { body } = await user.api.call('GET', '/api/audit?action=container.exec&limit=100');
    const entries = body['entries'] as { outcome: string; detail: unknown }[];
    // No argument, variable or input.
    const programs = /^(sh|sleep|echo|cat|true|\/tmp|\/bin\/sleep|no-such-program|)$/;
    for (const { detail } of entries) expect(detail).toEqual({ program: expect.stringMatching(programs), bytes: null });
    expect(JSON.stringify(body)).not.toMatch(/\$OWN|echo "|sleep \d/);
    const outcomes = entries.map(({ outcome }) => outcome);
    expect(outcomes).toEqual(expect.arrayContaining(['ok', 'command_not_started', 'client_gone']));
    const last = sh(FAMILY(7671));
    await eventually(async () => expect(await processes()).toContain('sleep 7671'));
    await berth.app.close();
    expect(await last).toMatchObject({ status: 503, body: { code: 'shutting_down' } });
    expect(await processes()).not.toContain('sleep 7671');
  });
});
