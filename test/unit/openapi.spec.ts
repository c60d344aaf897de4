import { readFileSync } from 'node:fs';
import type { OpenAPIObject } from '@nestjs/swagger';
import { ERRORS } from '../../src/errors';
import { type Answer, type ApiClient, SMALL } from '../support/api-client';
import { Berth } from '../support/berth';
import { FakeEngine } from '../support/fake-engine';

type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;
type Schema = NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>[string];

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
  return Object.entries(document.paths)
    .filter(([path]) => path.startsWith('/api/'))
    .flatMap(([path, item]) =>
      METHODS.flatMap((method): [string, Operation][] => {
        const operation = item[method];
        return operation ? [[`${method.toUpperCase()} ${path}`, operation]] : [];
      }),
    );
}

function schemaOf(operation: Operation | undefined, status: string | number): Schema | undefined {
  const response = operation?.responses[status];
  if (!response || !('content' in response)) return undefined;
  return (response.content['application/json'] ?? response.content['text/event-stream'])?.schema;
}

/** Whether an answer has a schema, of whatever type it is; one without a body has none. */
function isDescribed(operation: Operation, status: string): boolean {
  const response = operation.responses[status];
  if (!response || !('description' in response)) return false;
  return status === '204' || Object.values(response.content ?? {}).some(({ schema }) => schema !== undefined);
}

/** A schema with what it refers to and what it is made of put in its place. */
function whole(schema: Schema): Exclude<Schema, { $ref: string }> {
  if ('$ref' in schema) {
    const named = document.components?.schemas?.[schema.$ref.replace('#/components/schemas/', '')];
    if (!named) throw new Error(`${schema.$ref} is missing`);
    return whole(named);
  }
  const { allOf = [], ...own } = schema;
  return [...allOf.map(whole), own].reduce((merged, part) => ({
    ...merged,
    ...part,
    properties: { ...merged.properties, ...part.properties },
    required: [...(merged.required ?? []), ...(part.required ?? [])],
  }));
}

/** What a JSON value has that its schema does not, and what it lacks, by their paths. */
function differences(value: unknown, described: Schema, path = 'body'): string[] {
  const { oneOf } = whole(described);
  if (oneOf) {
    const each = oneOf.map((schema) => differences(value, schema, path));
    return each.reduce((least, some) => (some.length < least.length ? some : least));
  }
  const {
    type,
    nullable,
    items,
    properties = {},
    required = [],
    enum: values,
    additionalProperties,
  } = whole(described);
  if (value === null) return nullable ? [] : [`${path}: is null`];
  if (Array.isArray(value)) {
    return items ? value.flatMap((item) => differences(item, items, `${path}[]`)) : [`${path}: is an array`];
  }
  if (typeof value !== 'object') {
    const fits = typeof value === (type === 'integer' ? 'number' : type) && (values?.includes(value) ?? true);
    return fits ? [] : [`${path}: is ${JSON.stringify(value)}`];
  }
  return [
    ...required.filter((name) => !(name in value)).map((name) => `${path}.${name}: is absent`),
    ...Object.entries(value).flatMap(([name, part]) => {
      const property =
        properties[name] ?? (typeof additionalProperties === 'object' ? additionalProperties : undefined);
      if (!property && additionalProperties === true) return [];
      return property ? differences(part, property, `${path}.${name}`) : [`${path}.${name}: is not described`];
    }),
  ];
}

describe('the OpenAPI document', () => {
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
    const references = [...JSON.stringify(document).matchAll(/"#\/components\/(schemas|responses)\/([^"]+)"/g)];
    const missing = references.filter(([, kind, name = '']) => !document.components?.[kind as 'schemas']?.[name]);
    expect(references.length).toBeGreaterThan(0);
    expect(missing).toEqual([]);
  });

  it('must say of every route what HTTP itself has refused', () => {
    for (const [route, { requestBody, responses }] of operations()) {
      const told = ['400', '413', '417', '431', ...(requestBody ? ['415'] : [])];
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
        await engine.removeContainer(id);
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
        engine.failOn('stopContainer');
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
    const answer = await call(api);
    expect(answer.status).toBe(status);
    expect(differences(answer.body, schemaOf(new Map(operations()).get(route), status) ?? {})).toEqual([]);
  });
});

describe('docs/api.md', () => {
  const rows = readFileSync('docs/api.md', 'utf8')
    .split('\n')
    .filter((line) => /^\| \d{3} /.test(line));

  it.each(Object.entries(ERRORS).filter(([, { status }]) => status < 500))(
    'must have %s in its table of errors',
    (code, { status }) => {
      const said = rows.filter((row) => row.includes(`\`${code}\``)).map((row) => Number(row.slice(2, 5)));
      expect(said).toContain(status);
    },
  );
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
