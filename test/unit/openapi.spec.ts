import type { OpenAPIObject } from '@nestjs/swagger';
import { SMALL } from '../support/api-client';
import { Berth, TestUser } from '../support/berth';
import { FakeEngine } from '../support/fake-engine';

type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;
type Schema = NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>[string];

const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;

const engine = new FakeEngine();
let berth: Berth;
let document: OpenAPIObject;
let user: TestUser;

beforeAll(async () => {
  berth = await Berth.start({ engine });
  user = await berth.user();
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

function schemaOf({ responses }: Operation, status: string | number): Schema | undefined {
  const response = responses[status];
  return response && 'content' in response ? response.content?.['application/json']?.schema : undefined;
}

/** What a JSON value has that its schema does not, and what it lacks, by their paths. */
function differences(value: unknown, schema: Schema, path = 'body'): string[] {
  if ('$ref' in schema) {
    const named = document.components?.schemas?.[schema.$ref.replace('#/components/schemas/', '')];
    return named ? differences(value, named, path) : [`${path}: ${schema.$ref} is missing`];
  }
  if (value === null) return schema.nullable ? [] : [`${path}: is null`];
  if (schema.allOf && !schema.properties) return schema.allOf.flatMap((part) => differences(value, part, path));
  if (Array.isArray(value)) {
    const { items } = schema;
    return items ? value.flatMap((item) => differences(item, items, `${path}[]`)) : [`${path}: is an array`];
  }
  if (typeof value !== 'object') {
    const fits = typeof value === (schema.type === 'integer' ? 'number' : schema.type);
    return fits && (schema.enum?.includes(value) ?? true) ? [] : [`${path}: is ${JSON.stringify(value)}`];
  }
  const { properties = {}, required = [] } = schema;
  return [
    ...required.filter((name) => !(name in value)).map((name) => `${path}.${name}: is absent`),
    ...Object.entries(value).flatMap(([name, part]) => {
      const described = properties[name];
      return described ? differences(part, described, `${path}.${name}`) : [`${path}.${name}: is not described`];
    }),
  ];
}

describe('the OpenAPI document', () => {
  it('must describe what every route of the API answers when all is well', () => {
    const undescribed = operations()
      .filter(([, operation]) => {
        const successes = Object.keys(operation.responses).filter((status) => /^2\d\d$/.test(status));
        return successes.length === 0 || successes.some((status) => schemaOf(operation, status) === undefined);
      })
      .map(([route]) => route);
    expect(operations().length).toBeGreaterThan(10);
    expect(undescribed).toEqual([]);
  });

  it('must give every route an id of its own', () => {
    const ids = operations().map(([, { operationId }]) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(ids.map(() => expect.stringMatching(/^[a-z]+_\w+$/)));
  });

  it('must refer to nothing that it does not hold', () => {
    const references = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)];
    const missing = references.map(([, name = '']) => name).filter((name) => !document.components?.schemas?.[name]);
    expect(references.length).toBeGreaterThan(0);
    expect(missing).toEqual([]);
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

  it.each<[string, string, () => Promise<{ status: number; body: unknown }>]>([
    ['create', 'POST /api/containers', () => user.api.create()],
    ['list', 'GET /api/containers', () => user.api.call('GET', '/api/containers')],
    ['get', 'GET /api/containers/{id}', async () => user.api.get((await user.api.running()).db_id)],
    [
      'wait',
      'GET /api/containers/{id}/wait',
      async () => user.api.call('GET', `/api/containers/${(await user.api.running()).db_id}/wait?status=running`),
    ],
    [
      'wait in vain',
      'GET /api/containers/{id}/wait',
      async () =>
        user.api.call('GET', `/api/containers/${(await user.api.running()).db_id}/wait?status=error&timeout=0`),
    ],
    ['start', 'POST /api/containers/{id}/start', async () => user.api.start((await user.api.running()).db_id)],
    [
      'recreate',
      'POST /api/containers/{id}/start',
      async () => {
        const { id } = await user.api.running();
        await user.api.stop(id);
        await engine.removeContainer(id);
        return user.api.start(id);
      },
    ],
    ['stop', 'POST /api/containers/{id}/stop', async () => user.api.stop((await user.api.running()).db_id)],
    ['delete', 'DELETE /api/containers/{id}', async () => user.api.delete((await user.api.running()).db_id)],
    [
      'update',
      'PATCH /api/containers/{id}',
      async () => {
        const { id } = await user.api.running();
        return user.api.update(id, { ...SMALL, name: `renamed-${id.slice(0, 8)}` });
      },
    ],
    ['be refused', 'POST /api/containers', () => user.api.create({ memory_mb: 1 })],
    [
      'be refused the name',
      'POST /api/containers',
      async () => user.api.create({ name: (await user.api.running()).name }),
    ],
    ['find nothing', 'GET /api/containers/{id}', () => user.api.get('000000000000')],
    [
      'fail',
      'POST /api/containers/{id}/stop',
      async () => {
        const { id } = await user.api.running();
        engine.failOn('stopContainer');
        return user.api.stop(id);
      },
    ],
  ])('must describe the very answer where clients %s', async (_name, route, call) => {
    user = await berth.user();
    const { status, body } = await call();
    const schema = schemaOf(new Map(operations()).get(route) ?? { responses: {} }, status);
    expect([status, schema && differences(body, schema)]).toEqual([expect.any(Number), []]);
  });
});
