import { eventually } from '../support/eventually';
import { INSTALLED_WITHIN_MS, RoleServer } from './role-server';

jest.setTimeout(600_000);

/** From Debian's own mirrors, in gVisor. */
describe('the installation of a role', () => {
  let server: RoleServer;

  beforeAll(async () => {
    server = await RoleServer.start();
  });

  afterAll(() => server.stop());

  it('must be done again in the container that replaces one that vanished from Docker', async () => {
    const { api, docker } = server;
    const { id, db_id } = await server.create('python');
    expect(await server.installed(db_id)).toBe(id);
    await docker.docker.getContainer(id).remove({ force: true });
    await eventually(async () => expect((await api.get(db_id)).body).toMatchObject({ status: 'stopped' }));
    expect((await api.start(db_id)).body).toMatchObject({ recreated: true, volume_kept: true });
    const next = await server.installed(db_id);
    expect(next).not.toBe(id);
    await eventually(() => expect(server.progressOf(next).at(-1)).toBe(100));
    const told = server.progressOf(next);
    expect(told).toEqual([...new Set(told)].sort((a, b) => a - b));
    // How many are told depends on the machine: at most two a second.
    expect(told.filter((percent) => percent > 0 && percent < 100)).not.toEqual([]);
    await server.expectPython(next);
  });

  it('must be continued where a process was killed in the middle, and kept by a resize, at once', async () => {
    const { id: before, db_id } = await server.create('python');
    // Unpacking has begun: the worst of moments.
    await eventually(() => expect(Math.max(...server.progressOf(before))).toBeGreaterThanOrEqual(50), {
      timeoutMs: INSTALLED_WITHIN_MS,
      what: () => server.lastEvents(),
    });
    await server.restart();
    const { api } = server;
    expect(await server.installed(db_id)).toBe(before);
    await eventually(() => expect(server.progressOf(before).at(-1)).toBe(100));
    await server.expectPython(before);

    const resized = await api.patch(db_id, { memory_mb: 1024 });
    expect(resized).toMatchObject({ status: 200, body: { restarted: true, root_kept: true } });
    const { id } = resized.body['container'] as { id: string };
    expect(id).not.toBe(before);
    await server.expectPython(id);
    // It is looked for, and not installed again.
    expect(await server.installed(db_id)).toBe(id);
    expect(server.progressOf(id).filter((percent) => percent < 100)).toEqual([]);
  });

  it('must leave the container running where a package does not exist, and say so', async () => {
    const { db_id } = await server.create('broken');
    const { data } = await server.recorder.next('container_error', { db_id }, INSTALLED_WITHIN_MS);
    expect(data).toMatchObject({ reason: 'role_failed', status: 'running' });
    expect('output' in data ? data.output : '').toMatch(/E: Unable to locate package berth-no-such-package/);
    expect(JSON.stringify(data)).not.toContain('do-not-tell');
    expect((await server.api.get(db_id)).body).toMatchObject({ status: 'running', role_status: 'failed' });
  });
});
