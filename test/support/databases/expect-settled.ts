import { containerIdOf } from '../../../src/events';
import type { ApiClient } from '../clients/api-client';
import { EventRecorder } from '../clients/socket-client';
import { eventually } from '../eventually';
import type { RealDocker } from '../docker/real-docker';

/** Enough for the long history that earlier tests have made. */
const REPLAYED_WITHIN_MS = 5_000;

type Row = Readonly<Record<string, unknown>>;

/**
 * Checks the invariants that must always hold in the end: the row, Docker and the user's events agree, and nothing is
 * left over, lost or stuck.
 *
 * @returns the container as the API shows it; null if it is deleted
 */
export async function expectSettled(
  api: ApiClient,
  docker: RealDocker,
  dbId: string,
  timeoutMs = 60_000,
): Promise<Row | null> {
  let row: Row | null = null;
  await eventually(
    async () => {
      const got = await api.get(dbId);
      row = got.status === 404 ? null : got.body;
      await expectDockerAgrees(docker, dbId, row);
      await expectEventsAgree(api, dbId, row);
    },
    { timeoutMs, what: () => JSON.stringify(row) },
  );
  return row;
}

async function expectDockerAgrees(docker: RealDocker, dbId: string, row: Row | null): Promise<void> {
  const listed = await docker.containersOf(dbId);
  if (row === null || row['status'] === 'error') {
    expect(listed).toEqual([]);
    return;
  }
  expect(['running', 'paused', 'stopped']).toContain(row['status']);
  const missing = row['status'] === 'stopped' && row['status_reason'] === 'missing';
  const expected = missing ? [] : [{ id: row['id'], name: `berth-${dbId}` }];
  expect(listed.map(({ id, name }) => ({ id, name }))).toEqual(expected);
  const state = listed[0]?.state;
  if (!missing) expect(state === 'running' || state === 'paused' ? state : 'stopped').toBe(row['status']);
  // A return to a snapshot takes another volume.
  const volumes = await docker.volumesOf(dbId);
  expect(volumes).toHaveLength(1);
  for (const { id } of listed) {
    const { Mounts } = await docker.inspect(id);
    const data = Mounts.filter(({ Destination }) => Destination === '/home/user');
    expect(data.map(({ Name }) => Name)).toEqual(volumes);
  }
}

/** Replays the user's whole history: it has no gaps, and its last event of the container agrees with the row. */
async function expectEventsAgree(api: ApiClient, dbId: string, row: Row | null): Promise<void> {
  const { body } = await api.call('GET', '/api/containers');
  const recorder = new EventRecorder(api.url, { token: api.token, after: 0 });
  try {
    const told = Number(body['event_seq']);
    await eventually(() => expect(recorder.events.length).toBeGreaterThanOrEqual(told), {
      timeoutMs: REPLAYED_WITHIN_MS,
    });
    const { events } = recorder;
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_event, index) => index + 1));
    const last = events.filter((event) => containerIdOf(event) === dbId && event.type !== 'container_progress').at(-1);
    if (row === null) expect(last?.type).toBe('container_deleted');
    else {
      const { status, id, name, resources } = row;
      expect(last?.data).toMatchObject({ status, id, name, resources });
    }
  } finally {
    recorder.close();
  }
}
