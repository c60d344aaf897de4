import { Berth, TestUser } from '../support/servers/berth';
import type { NewContainer } from '../support/clients/api-client';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

jest.setTimeout(60_000);

describe('processes in containers of several server processes', () => {
  const daemon = new FakeDaemon();
  let database: TestDatabase;
  let here: Berth;
  let there: Berth;
  let user: TestUser;
  let container: NewContainer;

  beforeAll(async () => {
    database = await openTestDatabase();
    const options = () => ({ database, engine: new FakeEngine(daemon) });
    [here, there] = await Promise.all([Berth.start(options()), Berth.start(options())]);
    user = await here.user();
    container = await user.api.running();
  });

  afterAll(async () => {
    await Promise.all([here.stop(), there.stop()]);
    await database.drop();
  });

  it('must be listed, read, written to, sent signals and ended through any of them', async () => {
    const events = await there.record(user, 0);
    const path = `/api/containers/${container.db_id}/processes`;
    const other = there.as(user).api;
    const { body } = await user.api.call('POST', path, { command: ['cat'] });
    const own = `${path}/${String(body['id'])}`;
    await events.next('process_started', { id: body['id'], container_id: container.db_id });
    const seen = { id: body['id'], status: 'running', command: ['cat'] };
    expect((await other.call('GET', own)).body).toMatchObject(seen);
    for (const [api, data] of [
      [other, 'one'],
      [user.api, 'two'],
      [other, 'three'],
    ] as const) {
      expect((await api.call('POST', `${own}/stdin`, { data })).status).toBe(200);
      await eventually(async () => {
        const { output } = (await user.api.call('GET', `${own}/output`)).body as { output: { data: string }[] };
        expect(output.map((chunk) => chunk.data).join('')).toMatch(new RegExp(`${data}$`));
      });
    }
    expect((await other.call('GET', `${own}/output?after=3`)).body).toMatchObject({
      output: [{ offset: 3, data: 'twothree' }],
      next: 11,
      gap: false,
    });
    expect((await other.call('POST', `${own}/signal`, { signal: 'USR1' })).status).toBe(200);
    const [program] = daemon.programs.get(container.id) ?? [];
    expect(program?.signals).toEqual(['USR1']);
    expect((await other.call('DELETE', own)).status).toBe(200);
    await events.next('process_exited', { id: body['id'], exit_code: 137, reason: 'ended' });
    expect(program?.signals).toEqual(['USR1', 'TERM']);
    for (const api of [other, user.api]) {
      expect((await api.call('GET', own)).body).toMatchObject({ status: 'exited', exit_code: 137, reason: 'ended' });
    }
    const ends = events.events.filter(({ type }) => type === 'process_exited' || type === 'process_lost');
    expect(ends).toHaveLength(1);
  });

  it('must be followed by another one once theirs is dead', async () => {
    const events = await there.record(user);
    const path = `/api/containers/${container.db_id}/processes`;
    const { body } = await user.api.call('POST', path, { command: ['sleep', '7802'] });
    await here.stop();
    const [program] = daemon.programs.get(container.id) ?? [];
    program?.kill();
    await events.next('process_exited', { id: body['id'], exit_code: 137, reason: 'exited' });
    expect(events.events.filter(({ type }) => type === 'process_exited')).toHaveLength(1);
    here = await Berth.start({ database, engine: new FakeEngine(daemon) });
  });
});
