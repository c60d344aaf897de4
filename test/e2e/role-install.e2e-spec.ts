import { eventually } from '../support/eventually';
import { INSTALLED_WITHIN_MS, RoleServer } from './role-server';

jest.setTimeout(600_000);

/** From Debian's own mirrors, in gVisor, through the API of a server that is killed in the middle. */
describe('the installation of a role', () => {
  let server: RoleServer;

  beforeAll(async () => {
    server = await RoleServer.start();
  });

  afterAll(() => server.stop());

  it('must be continued by the next process where one was killed in the middle, and leave what works', async () => {
    const { id, db_id } = await server.create('python');
    // Unpacking has begun: the worst of moments.
    await eventually(() => expect(Math.max(...server.progressOf(id))).toBeGreaterThanOrEqual(50), {
      timeoutMs: INSTALLED_WITHIN_MS,
      what: () => server.lastEvents(),
    });
    await server.restart();
    expect(await server.installed(db_id)).toBe(id);
    await eventually(() => expect(server.progressOf(id).at(-1)).toBe(100));
    await server.expectPython(id);
  });
});
