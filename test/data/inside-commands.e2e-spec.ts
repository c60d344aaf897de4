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

  it.each<[string, 'programs.start' | 'programs.end', 'before' | 'after']>([
    ['in answer to its start', 'programs.start', 'after'],
    ['when its time is over', 'programs.end', 'before'],
  ])('must be ended once Docker is back: %s', async (_what, method, when) => {
    const { db_id, id } = await user.api.running();
    engine.failOn(method, { when });
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
