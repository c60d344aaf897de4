import { setTimeout as delay } from 'node:timers/promises';
import { Answer, ApiClient, LARGER, SMALL } from '../clients/api-client';
import { eventually } from '../eventually';
import { expectSettled } from '../databases/expect-settled';
import type { RealDocker } from '../docker/real-docker';

/** One verb in one situation. Tests disturb it at each of its calls to Docker. */
export interface Scenario {
  readonly name: string;
  /** Brings a container into the situation. @returns its database id; null if the verb creates it */
  prepare(api: ApiClient, docker: RealDocker): Promise<string | null>;
  /** @returns the verb's answer */
  act(api: ApiClient, dbId: string | null): Promise<Answer>;
  /** Repeats the verb, undisturbed; it must work. @returns its answer; null if the verb turned out to be done */
  again(api: ApiClient, dbId: string): Promise<Answer | null>;
  /** Whether a mark in the volume must survive. */
  readonly keepsData: boolean;
}

async function runningWithData(api: ApiClient, docker: RealDocker): Promise<string> {
  const { id, db_id } = await api.running();
  await docker.writeData(id, 'precious');
  return db_id;
}

async function stoppedWithData(api: ApiClient, docker: RealDocker): Promise<string> {
  const dbId = await runningWithData(api, docker);
  await api.stop(dbId);
  return dbId;
}

async function pausedWithData(api: ApiClient, docker: RealDocker): Promise<string> {
  const dbId = await runningWithData(api, docker);
  await pause(api, dbId);
  return dbId;
}

const pause = (api: ApiClient, dbId: string | null): Promise<Answer> =>
  api.call('POST', `/api/containers/${dbId ?? ''}/pause`);

/** Alternates the size, so that each update changes something. */
async function otherSize(api: ApiClient, dbId: string): Promise<Answer> {
  const { body } = await api.get(dbId);
  const { memory_mb } = body['resources'] as { memory_mb: number };
  return api.update(dbId, { name: body['name'], ...(memory_mb === SMALL.memory_mb ? LARGER : SMALL) });
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'create',
    keepsData: false,
    prepare: () => Promise.resolve(null),
    act: (api) => api.create(),
    again: (api, dbId) => api.start(dbId),
  },
  {
    name: 'start',
    keepsData: true,
    prepare: stoppedWithData,
    act: (api, dbId) => api.start(dbId ?? ''),
    again: (api, dbId) => api.start(dbId),
  },
  {
    name: 'start of a vanished container',
    keepsData: true,
    async prepare(api, docker) {
      const dbId = await runningWithData(api, docker);
      const { body } = await api.get(dbId);
      await docker.docker.getContainer(String(body['id'])).remove({ force: true });
      await eventually(async () => expect((await api.get(dbId)).body).toMatchObject({ status: 'stopped' }));
      return dbId;
    },
    act: (api, dbId) => api.start(dbId ?? ''),
    again: (api, dbId) => api.start(dbId),
  },
  {
    name: 'stop',
    keepsData: true,
    prepare: runningWithData,
    act: (api, dbId) => api.stop(dbId ?? ''),
    again: (api, dbId) => api.stop(dbId),
  },
  {
    name: 'pause',
    keepsData: true,
    prepare: runningWithData,
    act: pause,
    again: pause,
  },
  {
    name: 'resume',
    keepsData: true,
    prepare: pausedWithData,
    act: (api, dbId) => api.call('POST', `/api/containers/${dbId ?? ''}/resume`),
    again: (api, dbId) => api.call('POST', `/api/containers/${dbId}/resume`),
  },
  {
    name: 'stop of a paused container',
    keepsData: true,
    prepare: pausedWithData,
    act: (api, dbId) => api.stop(dbId ?? ''),
    again: (api, dbId) => api.stop(dbId),
  },
  {
    name: 'update of a paused container',
    keepsData: true,
    prepare: pausedWithData,
    act: (api, dbId) => otherSize(api, dbId ?? ''),
    again: otherSize,
  },
  {
    name: 'update of a running container',
    keepsData: true,
    prepare: runningWithData,
    act: (api, dbId) => otherSize(api, dbId ?? ''),
    again: otherSize,
  },
  {
    name: 'update of a stopped container',
    keepsData: true,
    prepare: stoppedWithData,
    act: (api, dbId) => otherSize(api, dbId ?? ''),
    again: otherSize,
  },
  {
    name: 'delete',
    keepsData: false,
    prepare: runningWithData,
    act: (api, dbId) => api.delete(dbId ?? ''),
    async again(api, dbId) {
      const answer = await api.delete(dbId);
      return answer.status === 404 ? null : answer;
    },
  },
];

/** After any fault: the verb works, undisturbed, the data is there, and the container can be deleted. */
export async function expectWorksAgain(
  scenario: Scenario,
  { api, docker, dbId }: { api: ApiClient; docker: RealDocker; dbId: string },
): Promise<void> {
  let again = await scenario.again(api, dbId);
  // The recovery has written what it found, and may hold the container a moment longer.
  for (let asked = 1; again?.body['code'] === 'operation_in_progress' && asked < 20; asked += 1) {
    await delay(500);
    again = await scenario.again(api, dbId);
  }
  if (again) expect([again.status, again.body['code']]).toEqual([200, undefined]);
  const row = await expectSettled(api, docker, dbId);
  if (scenario.keepsData) {
    if (row?.['status'] !== 'running') await api.start(dbId);
    expect(await docker.readData(String((await api.get(dbId)).body['id']))).toBe('precious');
  }
  // On a busy Docker an answer can take longer than the tests wait for one.
  if (row) await eventually(async () => expect([200, 404]).toContain((await api.delete(dbId)).status));
}
