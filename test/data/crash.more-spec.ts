import { ApiClient } from '../support/clients/api-client';
import { BerthProcess } from '../support/servers/berth-process';
import { DockerProxy, Fault } from '../support/faults/docker-proxy';
import { atEveryCall } from '../support/extent';
import { expectSettled } from '../support/databases/expect-settled';
import { RealDocker } from '../support/docker/real-docker';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';
import { expectWorksAgain, Scenario, SCENARIOS } from '../support/faults/verb-scenarios';

jest.setTimeout(900_000);

/**
 * On PostgreSQL a dead process's lease has to run out first; the verbs with the most to lose stand for the rest there.
 */
const MOST_TO_LOSE = ['update of a running container', 'delete'];
const scenarios = SCENARIOS.filter(
  ({ name }) => process.env['TEST_DATABASE'] === 'sqlite' || MOST_TO_LOSE.includes(name),
);

describe('the death of the process at any call that changes Docker', () => {
  const docker = new RealDocker();
  const instance = `test-crash-${String(process.pid)}-${process.env['TEST_DATABASE'] ?? ''}`;
  let database: TestDatabase;
  let proxy: DockerProxy;
  let berth: BerthProcess;
  let token: string;

  beforeAll(async () => {
    database = await openTestDatabase();
    proxy = await DockerProxy.open();
    berth = new BerthProcess({
      DATABASE_URL: database.url,
      INSTANCE_ID: instance,
      DOCKER_HOST: proxy.dockerHost,
      OPERATION_CLAIM_SECONDS: '4',
      SWEEP_INTERVAL_SECONDS: '1',
      ORPHAN_GRACE_SECONDS: '0',
      STOP_GRACE_SECONDS: '1',
    });
    await berth.start();
    token = await berth.token(['--user', 'survivor', '--tier', 'enterprise']);
  });

  afterAll(async () => {
    await berth.stop();
    await proxy.close();
    await docker.removeInstance(instance);
    await database.drop();
  });

  describe.each<Fault>(['kill_before', 'kill_after'])('(%s)', (fault) => {
    it.each(scenarios)('of a $name must be finished or undone by the next start', (scenario) =>
      atEveryCall((nth) => survives(scenario, fault, nth)),
    );
  });

  /** @returns whether the process was killed; if not, the verb has no call of this number */
  async function survives(scenario: Scenario, fault: Fault, nth: number): Promise<boolean> {
    let api = new ApiClient(berth.url, token);
    const prepared = await scenario.prepare(api, docker);
    const killed = new Promise<'killed'>((resolve) => {
      proxy.arm({ fault, nth, writesOnly: true, onKill: () => void berth.kill().then(() => resolve('killed')) });
    });
    const acted = scenario.act(api, prepared).catch(() => null);
    let dbId = prepared ?? (await acted)?.body['db_id'];
    const done = acted.then(async (answer) => {
      if (scenario.name !== 'create' || answer === null) return answer;
      return api.call('GET', `/api/containers/${String(dbId)}/wait?status=running&timeout=20`).catch(() => null);
    });
    // The clean-up after the answer makes calls too. One look at a time, as the server may be killed under it.
    const finished = done.then(async (answer) => {
      const settled = (): Promise<boolean> =>
        expectSettled(api, docker, String(dbId), 0).then(
          () => true,
          () => false,
        );
      while (answer !== null && proxy.struck === null && !(await settled()));
    });
    await Promise.race([killed, finished]);
    const struck = proxy.struck;
    if (struck !== null) await killed;
    proxy.arm(null);
    if (!berth.isRunning) await berth.start();
    api = new ApiClient(berth.url, token);
    // Killed before it could answer.
    dbId ??= await newestOf(api);
    try {
      await expectSettled(api, docker, String(dbId));
      await expectWorksAgain(scenario, { api, docker, dbId: String(dbId) });
    } catch (error) {
      if (error instanceof Error)
        error.message = `${fault} at ${struck ?? 'nothing'} of ${scenario.name}\n${error.message}`;
      throw error;
    }
    return struck !== null;
  }
});

async function newestOf(api: ApiClient): Promise<unknown> {
  const { body } = await api.call('GET', '/api/containers?limit=1');
  return (body['containers'] as Readonly<Record<string, unknown>>[])[0]?.['db_id'];
}
