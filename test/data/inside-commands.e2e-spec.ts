import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';

describe('a command in a container whose Docker does not answer', () => {
  const engine = new FakeEngine();
  let berth: Berth;
  let user: TestUser;

  beforeAll(async () => {
    berth = await Berth.start({ engine });
    user = await berth.user();
  });

  afterAll(() => berth.stop());

  it('must be ended by its sandbox when its time is over, as nobody reads it any more', async () => {
    const { db_id, id } = await user.api.running();
    engine.daemon.abandonedMs = 200;
    engine.failOn('programs.end');
    const answer = await user.api.call('POST', `/api/containers/${db_id}/exec`, { command: ['sleep'], timeout_ms: 50 });
    expect(answer).toMatchObject({ status: 500, body: { code: 'docker_unavailable', error: 'failed to run command' } });
    await eventually(() => expect(engine.daemon.programs.get(id)?.size).toBe(0));
    // Its place is free again, as that of one that was never started.
    const command = { command: ['true'] };
    await eventually(async () => {
      const many = await Promise.all(
        Array.from({ length: 16 }, () => user.api.call('POST', `/api/containers/${db_id}/exec`, command)),
      );
      expect(many.map(({ status }) => status)).toEqual(many.map(() => 200));
    });
  });
});
