import { io } from 'socket.io-client';
import type { ApiClient } from './api-client';
import { EventRecorder } from './event-recorder';
import { eventually } from './eventually';
import type { RealDocker } from './real-docker';

/**
 * The invariants that must hold after anything: the row, Docker and the user's events tell the same; nothing is left over,
 * nothing is lost, nothing is stuck.
 *
 * @returns the container as the API shows it; null if it is deleted
 */
export async function expectSettled(
  api: ApiClient,
  docker: RealDocker,
  dbId: string,
): Promise<Readonly<Record<string, unknown>> | null> {
  let row: Readonly<Record<string, unknown>> | null = null;
  await eventually(
    async () => {
      const got = await api.get(dbId);
      row = got.status === 404 ? null : got.body;
      const listed = await docker.containersOf(dbId);
      if (row === null || row['status'] === 'error') {
        expect(listed).toEqual([]);
      } else {
        expect(['running', 'stopped']).toContain(row['status']);
        const missing = row['status'] === 'stopped' && row['status_reason'] === 'missing';
        expect(listed.map(({ id, name }) => ({ id, name }))).toEqual(missing ? [] : [{ id: row['id'], name: `berth-${dbId}` }]);
        if (!missing) expect(listed[0]?.state === 'running').toBe(row['status'] === 'running');
      }
      if (row !== null && row['status'] !== 'error') expect(await docker.volumeExists(`berth-${dbId}`)).toBe(true);
    },
    { timeoutMs: 25_000, what: () => JSON.stringify(row) },
  );
  await expectEventsTell(api, dbId, row);
  return row;
}

async function expectEventsTell(
  api: ApiClient,
  dbId: string,
  row: Readonly<Record<string, unknown>> | null,
): Promise<void> {
  const { body } = await api.call('GET', '/api/containers');
  const recorder = new EventRecorder(io(api.url, { auth: { token: api.token, after: 0 }, transports: ['websocket'], forceNew: true }));
  try {
    await eventually(() => expect(recorder.events.length).toBeGreaterThanOrEqual(Number(body['event_seq'])));
    const { events } = recorder;
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_event, index) => index + 1));
    const last = events.filter(({ type, data }) => data.db_id === dbId && type !== 'container_progress').at(-1);
    if (row === null) expect(last?.type).toBe('container_deleted');
    else expect(last?.data).toMatchObject({ status: row['status'], id: row['id'], name: row['name'], resources: row['resources'] });
  } finally {
    recorder.close();
  }
}
