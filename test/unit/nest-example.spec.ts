import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Workspaces, WorkspacesModule } from '../../examples/nest/workspaces.module';
import type { Caller } from '../../src/containers';
import { Berth, type TestUser } from '../support/servers/berth';
import { blocksOf } from '../support/clients/document-blocks';
import { eventually } from '../support/eventually';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

const EXAMPLE = 'examples/nest/workspaces.module.ts';

describe('another module of the same backend', () => {
  let database: TestDatabase;
  let berth: Berth;
  let workspaces: Workspaces;
  let user: TestUser;
  let owner: Caller;

  beforeAll(async () => {
    database = await openTestDatabase();
    const environment = { ENGINE: 'simulated', SIMULATION_SPEED: '1000', INSTANCE_ID: 'nest-example' };
    berth = await Berth.start({ database, environment, modules: [WorkspacesModule] });
    workspaces = berth.app.get(Workspaces);
    user = await berth.user('pro');
    owner = { userId: user.id, tier: 'pro', sessionExpiresAt: null, boundTo: null };
  });
  afterAll(async () => {
    await berth.stop();
    await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true });
    await database.drop();
  });

  it('must open a container for a user, run commands in it, hear of its end, and open the same one again', async () => {
    const id = await workspaces.open(owner, 'project');
    expect(await workspaces.run(owner, id, ['sh', '-c', 'echo $((6*7))'])).toBe('42\n');
    expect(workspaces.lastStop(id)).toBeNull();
    await user.api.stop(id);
    await eventually(() => expect(workspaces.lastStop(id)).toBe('asked to'));
    expect(await workspaces.open(owner, 'project')).toBe(id);
    expect((await user.api.get(id)).body['status']).toBe('running');
  });

  it("must be refused what is another user's, and what the user's tier forbids", async () => {
    const id = await workspaces.open(owner, 'project');
    const other = { ...owner, userId: (await berth.user('pro')).id };
    await expect(workspaces.run(other, id, ['id'])).rejects.toMatchObject({ kind: 'not_authorized' });
    for (let index = 1; index < 10; index++) await workspaces.open(owner, `project-${String(index)}`).catch(() => null);
    await expect(workspaces.open(owner, 'too-many')).rejects.toMatchObject({ kind: 'container_limit_reached' });
  });

  it('must have routes behind the same tokens and scopes', async () => {
    // None of the API's, so no document describes them.
    const call = async (method: string, path: string, token: string): Promise<unknown> => {
      const answer = await fetch(`${berth.url}${path}`, { method, headers: { authorization: `Bearer ${token}` } });
      return { status: answer.status, ...((await answer.json()) as object) };
    };
    const id = await workspaces.open(owner, 'project');
    expect(await call('POST', '/api/workspaces/project', user.token)).toEqual({ status: 201, id });
    expect(await call('GET', `/api/workspaces/${id}/kernel`, user.token)).toEqual({ status: 200, kernel: 'Linux\n' });
    const { token: reading } = await berth.user('pro', ['read']);
    expect(await call('POST', '/api/workspaces/project', reading)).toMatchObject({ code: 'insufficient_permissions' });
    expect(await call('POST', '/api/workspaces/project', 'berth_wrong')).toMatchObject({ code: 'unauthorized' });
  });

  it('must be the one that docs/modules.md shows', () => {
    const whole = readFileSync(EXAMPLE, 'utf8').replaceAll("'../../src/", "'../");
    const [block] = blocksOf('docs/modules.md').filter(({ language }) => language === 'ts');
    const parts = block?.text.split(/^ *\/\/ …\n/m) ?? [];
    expect(parts.length).toBeGreaterThan(1);
    for (const part of parts) expect(whole).toContain(part.trim());
  });
});
