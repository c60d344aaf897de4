import { eventually } from '../support/eventually';
import { RoleServer } from './role-server';

jest.setTimeout(600_000);

/** From Debian's own mirrors, in gVisor. */
describe('the installation of a role', () => {
  let server: RoleServer;

  beforeAll(async () => {
    server = await RoleServer.start();
  });

  afterAll(() => server.stop());

  it('must leave what works, and tell of its progress', async () => {
    const { id, db_id } = await server.create('python');
    expect(await server.installed(db_id)).toBe(id);
    await eventually(() => expect(server.progressOf(id).at(-1)).toBe(100));
    await server.expectPython(id);
  });
});
