import { Berth, TestUser } from '../support/servers/berth';
import type { NewContainer } from '../support/clients/api-client';
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

  it('must be listed, get signals and end through any of them, and be read through the one that holds them', async () => {
    const events = await there.record(user, 0);
    const path = `/api/containers/${container.db_id}/processes`;
    const elsewhere = there.as(user).api;
    const { body } = await user.api.call('POST', path, { command: ['sleep', '7801'] });
    const own = `${path}/${String(body['id'])}`;
    await events.next('process_started', { id: body['id'], container_id: container.db_id });
    const seen = { id: body['id'], status: 'running', held_here: false, output_bytes: null, command: null };
    expect((await elsewhere.call('GET', own)).body).toMatchObject(seen);
    expect((await elsewhere.call('GET', path)).body).toMatchObject({ count: 1, processes: [seen] });
    for (const [method, what, sent] of [
      ['GET', 'output'],
      ['POST', 'stdin', { data: 'x' }],
    ] as const) {
      const refused = await elsewhere.call(method, `${own}/${what}`, sent);
      expect(refused).toMatchObject({ status: 409, body: { code: 'held_elsewhere' } });
      expect((await user.api.call(method, `${own}/${what}`, sent)).status).toBe(200);
    }
    expect((await elsewhere.call('POST', `${own}/signal`, { signal: 'USR1' })).status).toBe(200);
    const [program] = daemon.programs.get(container.id) ?? [];
    expect(program?.signals).toEqual(['USR1']);
    expect((await elsewhere.call('DELETE', own)).status).toBe(200);
    await events.next('process_exited', { id: body['id'], exit_code: 137 });
    expect(program?.signals).toEqual(['USR1', 'TERM']);
    expect((await elsewhere.call('GET', own)).body).toMatchObject({ code: 'process_not_found' });
    expect((await user.api.call('GET', own)).body).toMatchObject({ status: 'exited', exit_code: 137 });
  });
});
