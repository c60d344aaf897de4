import { rm } from 'node:fs/promises';
import type { OpenAPIObject } from '@nestjs/swagger';
import { Berth, type TestUser } from '../support/servers/berth';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

const METHODS = ['post', 'put', 'patch', 'delete'] as const;

/** Refused for what only a certain server has, rather than for what they are. */
const REFUSED: Readonly<Record<string, readonly [status: number, code: string]>> = {
  'POST /api/auth/sign-in': [403, 'sign_in_code_refused'],
  'POST /api/admin/containers/{id}/move': [409, 'not_clustered'],
  'POST /api/containers/{id}/run-code': [409, 'code_unavailable'],
  'POST /api/containers/{id}/restore-snapshot': [404, 'snapshot_not_found'],
  'POST /api/admin/nodes/{name}/drain': [404, 'node_not_found'],
};

describe('the examples of bodies', () => {
  let database: TestDatabase;
  let berth: Berth;
  let user: TestUser;
  let document: OpenAPIObject;

  beforeAll(async () => {
    database = await openTestDatabase();
    const environment = { ENGINE: 'simulated', SIMULATION_SPEED: '1000', INSTANCE_ID: 'examples', PREVIEW_PORT: '0' };
    berth = await Berth.start({ environment, database });
    user = await berth.user('free', ['read', 'write', 'exec', 'admin']);
    document = (await (await fetch(`${berth.url}/api/openapi.json`)).json()) as OpenAPIObject;
  });
  afterAll(async () => {
    await berth.stop();
    await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true });
    await database.drop();
  });

  /** Every body in JSON, with its examples: those of the place, and those of its schema. */
  function bodies(): { route: string; type: string; examples: object[] }[] {
    return Object.entries(document.paths).flatMap(([path, item]) =>
      METHODS.flatMap((method) => {
        const body = item[method]?.requestBody;
        const content = Object.entries(body && 'content' in body ? body.content : {});
        return content.flatMap(([type, json]) => {
          if (!/^application\/(?:merge-patch\+)?json$/.test(type)) return [];
          const name = (json.schema as { $ref?: string }).$ref?.replace('#/components/schemas/', '') ?? '';
          const { examples = [] } = (document.components?.schemas?.[name] ?? {}) as { examples?: object[] };
          return [{ route: `${method.toUpperCase()} ${path}`, type, examples: [json.example as object, ...examples] }];
        });
      }),
    );
  }

  it('must be there for each, and be taken by a server as they are; Location leads to what was made', async () => {
    const container = await user.api.running({ image: 'sandbox', custom_image: null });
    const files = `/api/containers/${container.db_id}/files`;
    const started = async (): Promise<string> => {
      const answer = await user.api.call('POST', `/api/containers/${container.db_id}/processes`, { command: ['cat'] });
      return String(answer.body['id']);
    };
    const others = await berth.user('free');
    const made = await user.api.call('POST', `/api/containers/${container.db_id}/snapshots`, {});
    const snapshot = String(made.body['id']);
    await user.api.call('GET', `/api/snapshots/${snapshot}/wait`);
    const webhookAt = async (path: string): Promise<string> => {
      const answer = await user.api.call('POST', path, { url: 'https://hooks.example.com/' });
      return String(answer.body['id']);
    };
    const [own, everybodys] = [await webhookAt('/api/webhooks'), await webhookAt('/api/admin/webhooks')];
    const idFor = (route: string): string => {
      if (route.includes('/users/')) return others.id;
      if (route.includes('/webhooks/{id}')) return route.includes('/admin/') ? everybodys : own;
      return route.includes('/snapshots/{id}') ? snapshot : container.db_id;
    };
    const all = bodies();
    const found: (readonly [route: string, location: string, status: number])[] = [];
    for (const { route, type, examples } of all) {
      for (const example of examples) {
        if (route.endsWith('/files/move')) {
          const { from, to } = example as { from: string; to: string };
          const headers = { authorization: `Bearer ${user.token}` };
          await fetch(`${berth.url}${files}?path=${from}`, { method: 'PUT', headers, body: 'x' });
          await fetch(`${berth.url}${files}?path=${to}`, { method: 'DELETE', headers });
        }
        if (route.endsWith('/ssh-keys')) {
          const { body: kept } = await user.api.call('GET', '/api/me/ssh-keys');
          const keys = kept['ssh_keys'] as { id: string }[];
          for (const { id } of keys) await user.api.call('DELETE', `/api/me/ssh-keys/${id}`);
        }
        if (route === 'POST /api/admin/users') {
          const { username } = example as { username: string };
          const { body: kept } = await user.api.call('GET', `/api/admin/users?username=${username}`);
          for (const { id } of kept['users'] as { id: string }[]) {
            await user.api.call('DELETE', `/api/admin/users/${id}`);
          }
        }
        const [method = '', path = ''] = route.split(' ');
        const target = path
          .replace('{id}', idFor(route))
          .replace('{pid}', path.includes('{pid}') ? await started() : '')
          .replace('{port}', '3000')
          .replace('{name}', 'default');
        const answer = await user.api.call(method, target, example, { 'content-type': type });
        if (answer.status === 201 || answer.status === 202) {
          const location = String(answer.headers.get('location'));
          found.push([route, location, (await user.api.call('GET', location)).status]);
        }
        const { status, body } = answer;
        const refusal = REFUSED[route];
        if (refusal) expect([route, status, body['code']]).toEqual([route, ...refusal]);
        else
          expect({ route, example, status, body }).toEqual({
            route,
            example,
            status: status < 300 ? status : 200,
            body,
          });
      }
    }
    expect(all.length).toBeGreaterThan(15);
    // A token or a key is revoked at its address, and a code taken; none is shown there.
    const hidden = /^\/api\/((?:tokens|me\/ssh-keys)\/[0-9a-f-]{36}|auth\/sign-in)$/;
    expect(found.length).toBeGreaterThan(5);
    expect(found.filter(([, location, status]) => status !== (hidden.test(location) ? 405 : 200))).toEqual([]);
  });
});
