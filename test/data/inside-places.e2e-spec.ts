import type { Answer, NewContainer } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { EventStreamClient } from '../support/clients/event-stream-client';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';

describe('the places in a container', () => {
  const engine = new FakeEngine();
  let berth: Berth;
  let user: TestUser;
  let container: NewContainer;

  beforeAll(async () => {
    berth = await Berth.start({ engine });
    user = await berth.user('pro', ['read', 'write', 'exec']);
    container = await user.api.running();
  });

  afterAll(() => berth.stop());

  const call = (method: string, path: string, body?: object): Promise<Answer> =>
    user.api.call(method, `/api/containers/${container.db_id}${path}`, body);

  it('must be sixteen for commands, in whatever form they were asked for, and free again at their ends', async () => {
    const path = `/api/containers/${container.db_id}/exec`;
    const held = await Promise.all(
      Array.from({ length: 16 }, () =>
        EventStreamClient.open({ url: berth.url, token: user.token, path, body: { command: ['sleep'] } }),
      ),
    );
    expect(held.map(({ status }) => status)).toEqual(held.map(() => 200));
    const run = () => call('POST', '/exec', { command: ['true'] });
    expect(await run()).toMatchObject({ status: 429, body: { code: 'too_many_commands', limit: 16 } });
    for (const client of held) client.close();
    await eventually(async () => expect((await run()).status).toBe(200));
  });

  it('must be sixteen for processes, however many are started at once, all of which end with the container', async () => {
    const started = await Promise.all(
      Array.from({ length: 18 }, () => call('POST', '/processes', { command: ['sleep'] })),
    );
    expect(started.filter(({ status }) => status === 201)).toHaveLength(16);
    expect(started.find(({ status }) => status !== 201)).toMatchObject({
      status: 403,
      body: { code: 'process_limit_reached', limit: 16 },
    });
    await user.api.stop(container.db_id);
    await eventually(async () => {
      const { processes } = (await call('GET', '/processes')).body as { processes: { reason: string }[] };
      expect(processes.map(({ reason }) => reason)).toEqual(Array.from({ length: 16 }, () => 'container_stopped'));
    });
    await user.api.start(container.db_id);
  });

  it('must be free again after transfers that a defect of the server ends, each with a 500', async () => {
    const unpack = jest.spyOn(engine.files, 'unpack').mockRejectedValue(new TypeError('a defect'));
    for (let transfer = 0; transfer <= 16; transfer += 1) {
      const answer = await fetch(`${berth.url}/api/containers/${container.db_id}/archive?path=/home/user`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${user.token}`, 'content-type': 'application/x-tar' },
        body: Buffer.alloc(1024),
      });
      expect([answer.status, await answer.json()]).toMatchObject([500, { code: 'internal_error' }]);
    }
    unpack.mockRestore();
  });
});
