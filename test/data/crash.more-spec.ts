import type { ApiClient } from '../support/clients/api-client';
import { MortalServer } from '../support/servers/mortal-server';
import type { Fault } from '../support/faults/docker-proxy';
import { atEveryCall, drawn } from '../support/extent';
import { expectSettled } from '../support/databases/expect-settled';
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
  let server: MortalServer;

  beforeAll(async () => {
    server = await MortalServer.start('crash');
  });

  afterAll(() => server.stop());

  describe.each<Fault>(['kill_before', 'kill_after'])('(%s)', (fault) => {
    it.each(drawn(scenarios, Math.ceil(scenarios.length / 2)))(
      'of a $name must be finished or undone by the next start',
      (scenario) => atEveryCall((nth) => survives(scenario, fault, nth)),
    );
  });

  /** @returns whether the process was killed; if not, the verb has no call of this number */
  async function survives(scenario: Scenario, fault: Fault, nth: number): Promise<boolean> {
    const { docker, api } = server;
    const prepared = await scenario.prepare(api, docker);
    let dbId: unknown = prepared;
    const act = async (): Promise<void> => {
      const answer = await scenario.act(api, prepared);
      dbId ??= answer.body['db_id'];
      if (scenario.name === 'create') {
        await api.call('GET', `/api/containers/${String(dbId)}/wait?status=running&timeout=20`);
      }
    };
    const settled = (): Promise<unknown> => expectSettled(api, docker, String(dbId), 0);
    const struck = await server.dies({ fault, nth, writesOnly: true }, act, settled);
    // Killed before it could answer.
    dbId ??= await newestOf(server.api);
    try {
      await expectSettled(server.api, docker, String(dbId));
      await expectWorksAgain(scenario, { api: server.api, docker, dbId: String(dbId) });
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
