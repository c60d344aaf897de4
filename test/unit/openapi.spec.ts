import { readFileSync } from 'node:fs';
import type { OpenAPIObject } from '@nestjs/swagger';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { type Answer, type ApiClient, SMALL } from '../support/clients/api-client';
import { Berth } from '../support/servers/berth';
import { FakeEngine } from '../support/fakes/fake-engine';

type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;

const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;

const engine = new FakeEngine();
const UNKNOWN = engine.daemon.machine;
let berth: Berth;
let document: OpenAPIObject;

beforeAll(async () => {
  berth = await Berth.start({ engine });
  document = (await (await fetch(`${berth.url}/api/openapi.json`)).json()) as OpenAPIObject;
});

afterAll(() => berth.stop());

/** Every route of the API by its method and path. */
function operations(): [string, Operation][] {
  return allOperations().filter(([route]) => route.includes(' /api/'));
}

/** The same with those outside of the API. */
function allOperations(): [string, Operation][] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    METHODS.flatMap((method): [string, Operation][] => {
      const operation = item[method];
      return operation ? [[`${method.toUpperCase()} ${path}`, operation]] : [];
    }),
  );
}

function examplesOf(examples: unknown): unknown[] {
  const all = document.components?.examples as Record<string, { value: unknown }> | undefined;
  return Object.values((examples ?? {}) as Record<string, { $ref?: string; value?: unknown }>).map(({ $ref, value }) =>
    $ref === undefined ? value : all?.[$ref.replace('#/components/examples/', '')]?.value,
  );
}

/** Bodies that are taken, and where. */
const SOUND = {
  CreateContainerDto: { route: '/api/containers', body: { image: 'sandbox' } },
  CreateTokenDto: { route: '/api/tokens', body: { name: 'laptop' } },
  CreateAgentDto: { route: '/api/agents', body: { name: 'workstation' } },
  RunCommandDto: { route: '/api/containers/{id}/exec', body: { command: ['true'] } },
  SignInDto: { route: '/api/auth/sign-in', body: { code: 'k3yq0Yw2mJx6l4bq8Zb0sV1nQ5tR7uWd' } },
  GuestLoginDto: { route: '/api/auth/guest', body: { username: 'somebody' } },
} as const;

/** Whether an answer has a schema, of whatever type it is; one without a body has none. */
function isDescribed(operation: Operation, status: string): boolean {
  const response = operation.responses[status];
  if (!response || !('description' in response)) return false;
  return status === '204' || Object.values(response.content ?? {}).some(({ schema }) => schema !== undefined);
}

/** Compiles each component once, however many schemas refer to it. */
let ajv: Ajv2020 | undefined;

/** Whatever of JSON Schema there is, in one place. */
function validator(schema: object): (value: unknown) => string[] {
  const { schemas } = document.components ?? {};
  const compiler = (ajv ??= addFormats(new Ajv2020({ strict: false })).addSchema({
    $id: 'document',
    components: { schemas },
  }));
  const referring = JSON.stringify(schema).replaceAll('"#/components/', '"document#/components/');
  const validate = compiler.compile(JSON.parse(referring) as object);
  return (value) => (validate(value) ? [] : [compiler.errorsText(validate.errors)]);
}

describe('the OpenAPI document', () => {
  it('must be docs/openapi.json to the letter: `npm run openapi` writes it', () => {
    expect(`${JSON.stringify(document, null, 2)}\n` === readFileSync('docs/openapi.json', 'utf8')).toBe(true);
  });

  it('must begin with containers, and have a server, and no token but a bearer of no format', () => {
    expect(document).toMatchObject({ openapi: '3.1.0', servers: [{ url: '/' }], tags: { 0: { name: 'containers' } } });
    const { bearer } = document.components?.securitySchemes ?? {};
    expect(bearer).toEqual({ type: 'http', scheme: 'bearer', description: expect.any(String) });
  });

  it('must say of every route whether it takes a token, and which scopes that needs', () => {
    const open = allOperations().filter(([, { security }]) => JSON.stringify(security) === '[]');
    const closed = allOperations().filter(([, { security }]) =>
      /^\[\{"bearer":\["\w+"(,"\w+")*\]\}\]$/.test(JSON.stringify(security)),
    );
    expect(open.map(([route]) => route).sort()).toEqual([
      'GET /api/auth/methods',
      'GET /api/containers/{id}/files/linked',
      'GET /health/live',
      'GET /health/ready',
      'GET /metrics',
      'POST /api/auth/guest',
      'POST /api/auth/sign-in',
    ]);
    expect(open.length + closed.length).toBe(allOperations().length);
  });

  it('must have an example of every success that is JSON, and of every fault, as it describes them', () => {
    const wrong: string[] = [];
    for (const [route, { responses }] of allOperations()) {
      for (const [status, response] of Object.entries(responses)) {
        const json = response && 'content' in response ? response.content['application/json'] : undefined;
        if (!json?.schema) continue;
        const examples = status.startsWith('2') ? [json.example as unknown] : examplesOf(json.examples);
        const faults = examples.flatMap(validator(json.schema));
        wrong.push(...(examples.length === 0 ? ['no example'] : faults).map((fault) => `${route} ${status}: ${fault}`));
      }
    }
    expect(wrong).toEqual([]);
  });

  it('must say of every number from where to where it goes, and of no field that it is just anything', () => {
    const vague: string[] = [];
    const look = (node: unknown, path: string): void => {
      if (typeof node !== 'object' || node === null) return;
      const {
        type,
        minimum,
        enum: values,
        properties,
        additionalProperties,
        nullable,
      } = node as Record<string, unknown>;
      const types = [type].flat();
      if ((types.includes('integer') || types.includes('number')) && minimum === undefined && !values) vague.push(path);
      if (types.includes('object') && !properties && !additionalProperties) vague.push(path);
      if (nullable !== undefined) vague.push(path);
      for (const [key, value] of Object.entries(node)) {
        if (!['example', 'examples', 'default', 'enum'].includes(key)) look(value, `${path}.${key}`);
      }
    };
    look(document.components?.schemas, '');
    look(document.paths, '');
    // An exit code, and what an agent says of itself.
    expect(vague.filter((path) => !/exit_?code$|\.load\.items$|\.not\./i.test(path))).toEqual([]);
  });

  it.each([
    ['CreateContainerDto', 'name', 'a b'],
    ['CreateContainerDto', 'memory_mb', 0],
    ['CreateContainerDto', 'labels', { A: 'b' }],
    ['CreateContainerDto', 'env', { '1': 'b' }],
    ['CreateContainerDto', 'network', { allow: [] }],
    ['CreateContainerDto', 'custom_image', 'alpine:3.22'],
    ['CreateContainerDto', 'unknown', 1],
    ['CreateTokenDto', 'name', ' '],
    ['CreateTokenDto', 'expires_in', 0],
    ['CreateTokenDto', 'expires_in', 3651],
    ['CreateTokenDto', 'scopes', []],
    ['CreateTokenDto', 'scopes', ['read', 'read']],
    ['CreateAgentDto', 'name', 'a_b'],
    ['CreateAgentDto', 'os', ' linux'],
    ['CreateAgentDto', 'arch', ''],
    ['CreateAgentDto', 'description', 'a\u0007b'],
    ['CreateAgentDto', 'tags', ['-']],
    ['RunCommandDto', 'command', []],
    ['RunCommandDto', 'cwd', 'home'],
    ['RunCommandDto', 'timeout_ms', 600_001],
    ['GuestLoginDto', 'username', 'a'],
  ])('must refuse what the server refuses: of %s %s %j', async (name, field, value) => {
    const validate = validator({ $ref: `#/components/schemas/${name}` });
    const { route, body } = SOUND[name as keyof typeof SOUND];
    const { api } = await berth.user('pro', ['read', 'write', 'exec']);
    const path = route.replace('{id}', name === 'RunCommandDto' ? (await api.running()).id : '');
    const wrong = { ...body, [field]: value };
    expect(validate(body)).toEqual([]);
    expect([validate(wrong).length, (await api.call('POST', path, wrong)).status]).toEqual([1, 400]);
  });

  it('must take null for what is left out where the server does', async () => {
    const { api } = await berth.user('pro', ['write', 'exec']);
    const described = document.components?.schemas?.['CreateContainerDto'] as { properties: object } | undefined;
    const nothing = Object.fromEntries(Object.keys(described?.properties ?? {}).map((field) => [field, null]));
    const body = { ...nothing, image: 'sandbox' };
    expect(validator({ $ref: '#/components/schemas/CreateContainerDto' })(body)).toEqual([]);
    expect((await api.call('POST', '/api/containers', body)).status).toBe(202);
    const custom = await api.call('POST', '/api/containers', { ...body, image: 'custom' });
    expect([custom.status, custom.body['details']]).toEqual([
      400,
      [expect.objectContaining({ field: 'custom_image' })],
    ]);
  });

  it('must describe what every route of the API answers when all is well', () => {
    const undescribed = operations()
      .filter(([, operation]) => {
        const successes = Object.keys(operation.responses).filter((status) => /^2\d\d$/.test(status));
        return successes.length === 0 || successes.some((status) => !isDescribed(operation, status));
      })
      .map(([route]) => route);
    expect(operations().length).toBeGreaterThan(10);
    expect(undescribed).toEqual([]);
  });

  it('must give every route an id of its own', () => {
    const ids = operations().map(([, { operationId }]) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.filter((id = '') => !/^[a-z]+_\w+$/.test(id))).toEqual([]);
  });

  it('must refer to nothing that it does not hold', () => {
    const references = [
      ...JSON.stringify(document).matchAll(/"#\/components\/(schemas|responses|headers|examples)\/([^"]+)"/g),
    ];
    const missing = references.filter(([, kind, name = '']) => !document.components?.[kind as 'schemas']?.[name]);
    expect(references.length).toBeGreaterThan(0);
    expect(missing).toEqual([]);
  });

  it('must say of every route what HTTP itself has refused', () => {
    for (const [route, { requestBody, responses }] of operations()) {
      const isJson = requestBody && 'content' in requestBody && 'application/json' in requestBody.content;
      const told = ['400', '408', '413', '417', '431', '500', '503', ...(isJson ? ['415'] : [])];
      expect([route, Object.keys(responses)]).toEqual([route, expect.arrayContaining(told)]);
    }
  });

  it('must say of every route on one container what is refused, and what an id may be', () => {
    const routes = operations().filter(([route]) => route.includes('/api/containers/{id}'));
    expect(routes.length).toBeGreaterThan(5);
    for (const [route, { parameters = [], responses }] of routes) {
      expect([route, Object.keys(responses)]).toEqual([route, expect.arrayContaining(['401', '403', '404'])]);
      const ids = parameters.filter((parameter) => 'name' in parameter && parameter.name === 'id');
      expect([route, ids]).toEqual([
        route,
        [expect.objectContaining({ description: expect.stringMatching(/UUID.*64.*12/) })],
      ]);
    }
  });

  it.each<[string, number, string, (api: ApiClient) => Promise<Answer>]>([
    ['creates', 202, 'POST /api/containers', (api) => api.create()],
    [
      'lists',
      200,
      'GET /api/containers',
      async (api) => {
        await api.running();
        return api.call('GET', '/api/containers');
      },
    ],
    [
      'asks what has happened',
      200,
      'GET /api/events',
      async (api) => {
        await api.running();
        return api.call('GET', '/api/events');
      },
    ],
    ['asks from where it cannot know', 200, 'GET /api/events', (api) => api.call('GET', '/api/events?after=9')],
    [
      'logs in as a guest',
      201,
      'POST /api/auth/guest',
      (api) => api.call('POST', '/api/auth/guest', { username: 'ada' }),
    ],
    ['gets', 200, 'GET /api/containers/{id}', async (api) => api.get((await api.running()).id)],
    ['waits', 200, 'GET /api/containers/{id}/wait', (api) => wait(api, 'running')],
    ['waits in vain', 408, 'GET /api/containers/{id}/wait', (api) => wait(api, 'stopped')],
    ['waits for what cannot come', 409, 'GET /api/containers/{id}/wait', (api) => wait(api, 'error')],
    ['starts', 200, 'POST /api/containers/{id}/start', async (api) => api.start((await api.running()).id)],
    [
      'starts what has vanished',
      200,
      'POST /api/containers/{id}/start',
      async (api) => {
        const { id } = await api.running();
        await api.stop(id);
        await engine.containers.remove(id);
        const answer = await api.start(id);
        expect(answer.body).toMatchObject({ recreated: true, old_id: id, volume_kept: true });
        return answer;
      },
    ],
    ['stops', 200, 'POST /api/containers/{id}/stop', async (api) => api.stop((await api.running()).id)],
    [
      'stops in vain',
      500,
      'POST /api/containers/{id}/stop',
      async (api) => {
        const { id } = await api.running();
        engine.failOn('containers.stop');
        return api.stop(id);
      },
    ],
    ['deletes', 200, 'DELETE /api/containers/{id}', async (api) => api.delete((await api.running()).id)],
    [
      'updates',
      200,
      'PATCH /api/containers/{id}',
      async (api) => api.update((await api.running()).id, { ...SMALL, name: 'renamed' }),
    ],
    [
      'labels',
      200,
      'PUT /api/containers/{id}/labels',
      async (api) => api.call('PUT', `/api/containers/${(await api.running()).id}/labels`, { labels: { a: 'b' } }),
    ],
    [
      'restores',
      200,
      'POST /api/containers/{id}/restore',
      async (api) => {
        const { id } = await api.running();
        await api.delete(id);
        return api.call('POST', `/api/containers/${id}/restore`);
      },
    ],
    [
      'asks what was done',
      200,
      'GET /api/audit',
      async (api) => {
        await api.running();
        return api.call('GET', '/api/audit');
      },
    ],
    ['lists users', 200, 'GET /api/admin/users', () => asAdmin('GET', () => 'users')],
    [
      'creates a user',
      201,
      'POST /api/admin/users',
      () => asAdmin('POST', () => 'users', { username: 'described', tier: 'free' }),
    ],
    [
      'moves a user',
      200,
      'PATCH /api/admin/users/{id}',
      () => asAdmin('PATCH', (id) => `users/${id}`, { tier: 'free' }),
    ],
    [
      'deletes a user',
      200,
      'DELETE /api/admin/users/{id}',
      async () => {
        const { id } = await berth.user();
        return asAdmin('DELETE', () => `users/${id}`);
      },
    ],
    [
      'revokes all tokens',
      200,
      'POST /api/admin/users/{id}/revoke-tokens',
      () => asAdmin('POST', (id) => `users/${id}/revoke-tokens`),
    ],
    ['lists all containers', 200, 'GET /api/admin/containers', () => asAdmin('GET', () => 'containers')],
    ['asks for the capacity', 200, 'GET /api/admin/capacity', () => asAdmin('GET', () => 'capacity')],
    ['asks how full it was', 200, 'GET /api/admin/capacity/history', () => asAdmin('GET', () => 'capacity/history')],
    [
      'creates where there is no room',
      503,
      'POST /api/containers',
      (api) => {
        engine.daemon.machine = { memoryMb: 1, cpuShares: 1, freeMemoryMb: null, freeDiskMb: null };
        return api.create().finally(() => (engine.daemon.machine = UNKNOWN));
      },
    ],
    ['reconciles', 200, 'POST /api/admin/reconcile', () => asAdmin('POST', () => 'reconcile')],
    [
      'has an image pulled',
      200,
      'POST /api/admin/images/{name}/pull',
      () => {
        engine.daemon.registry.add('alpine:3.22');
        return asAdmin('POST', () => 'images/alpine/pull');
      },
    ],
    ['creates with a fault', 400, 'POST /api/containers', (api) => api.create({ memory_mb: 1 })],
    [
      'creates under a name that is taken',
      409,
      'POST /api/containers',
      async (api) => api.create({ name: (await api.running()).name }),
    ],
    ['makes an agent', 201, 'POST /api/agents', (api) => agent(api)],
    [
      'lists agents',
      200,
      'GET /api/agents',
      async (api) => {
        await agent(api);
        return api.call('GET', '/api/agents');
      },
    ],
    ['gets an agent', 200, 'GET /api/containers/{id}', async (api) => api.get(await agentId(api))],
    ['stops an agent', 200, 'POST /api/containers/{id}/stop', async (api) => api.stop(await agentId(api))],
    ['deletes an agent', 200, 'DELETE /api/containers/{id}', async (api) => api.delete(await agentId(api))],
    ['starts an agent', 400, 'POST /api/containers/{id}/start', async (api) => api.start(await agentId(api))],
    ['gets what is not there', 404, 'GET /api/containers/{id}', (api) => api.get('000000000000')],
  ])('must describe the very answer of a client that %s', async (_what, status, route, call) => {
    const { api } = await berth.user();
    // Whether the answer is as the document says is looked at wherever a test gets one: `support/described.ts`.
    expect((await call(api)).status).toBe(status);
    expect(new Map(operations()).get(route)?.responses).toHaveProperty(String(status));
  });
});

/** @param path behind `/api/admin/`, of the admin's own id */
async function asAdmin(method: string, path: (id: string) => string, body?: object): Promise<Answer> {
  const { api, id } = await berth.user('pro', ['admin']);
  await api.running();
  return api.call(method, `/api/admin/${path(id)}`, body);
}

async function wait(api: ApiClient, status: string): Promise<Answer> {
  const { id } = await api.running();
  return api.call('GET', `/api/containers/${id}/wait?status=${status}&timeout=0`);
}

function agent(api: ApiClient): Promise<Answer> {
  return api.call('POST', '/api/agents', { name: 'workstation', tags: ['gpu'] });
}

async function agentId(api: ApiClient): Promise<string> {
  return String((await agent(api)).body['id']);
}
