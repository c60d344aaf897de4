import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { Berth, type TestUser } from '../support/servers/berth';
import { FakeEngine } from '../support/fakes/fake-engine';

type Json = Readonly<Record<string, unknown>>;

const openapi = JSON.parse(readFileSync('docs/openapi.json', 'utf8')) as Json;

/** Texts that one pattern or another is particular about. */
const TEXTS = [
  ['', ' ', 'a', 'A1', ' a', 'a ', 'a b', '-', '_a', '1a', 'a.b', 'a:b', 'a/b', 'a\u00a0', '\u3000a', 'é', '💥', 'İ'],
  ['a\u200bb', 'a\u202eb', 'a\u00adb', 'a\u2028b', 'a\u0085b', 'a\nb', 'a\tb', 'a\n', '\ufeffa', '\u007f', '\ue000'],
  ['x'.repeat(2), 'x'.repeat(30), 'x'.repeat(31), 'x'.repeat(64), 'x'.repeat(65), '💥'.repeat(64), '💥'.repeat(65)],
  ['/', '//', '/.', '/..', '/...', '/a', '/a/', '/a/.', '/a/..', '/a/../', '/.a', '/..a', '/a\nb', '/./a//./', 'a/'],
  ['10.0.0.1:80', '10.0.0.0/8:80', '10.0.0.1/33:80', '256.0.0.1:80', '01.0.0.1:80', '0.0.0.0/0:65535', '1.2.3.4:65536'],
  ['1.2.3.4:0', '1.2.3.4:080', '1.2.3.4:80/udp', '1.2.3.4:80/sctp', '1.2.3.4/032:80', '1.2.3.4/32:80/tcp'],
  ['user:group', 'container.start', '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11', '3F0C8A52-6D1B-0C7E-0B1A-2E5D7F904C11'],
  ['3f0c8a526d1b4c7e9b1a2e5d7f904c11', '00000000-0000-0000-0000-000000000000', '{3f0c8a52}'],
].flat();

/** Where a text goes, and the schema of what is sent. */
interface Place {
  readonly route: string;
  readonly schema: string | { readonly query: string };
  readonly send: (text: string) => object;
}

const SOUND = { image: 'sandbox' };
const PLACES: readonly Place[] = [
  { route: 'POST /api/tokens', schema: 'CreateTokenDto', send: (name) => ({ name }) },
  { route: 'POST /api/agents', schema: 'CreateAgentDto', send: (name) => ({ name }) },
  { route: 'POST /api/agents', schema: 'CreateAgentDto', send: (description) => ({ name: 'a', description }) },
  { route: 'POST /api/agents', schema: 'CreateAgentDto', send: (os) => ({ name: 'a', os }) },
  { route: 'POST /api/agents', schema: 'CreateAgentDto', send: (tag) => ({ name: 'a', tags: [tag] }) },
  { route: 'POST /api/containers', schema: 'CreateContainerDto', send: (name) => ({ ...SOUND, name }) },
  { route: 'POST /api/containers', schema: 'CreateContainerDto', send: (key) => ({ ...SOUND, env: { [key]: '' } }) },
  { route: 'POST /api/containers', schema: 'CreateContainerDto', send: (text) => ({ ...SOUND, env: { A: text } }) },
  { route: 'POST /api/containers', schema: 'CreateContainerDto', send: (key) => ({ ...SOUND, labels: { [key]: '' } }) },
  {
    route: 'POST /api/containers',
    schema: 'CreateContainerDto',
    send: (entry) => ({ ...SOUND, network: { allow: [entry] } }),
  },
  {
    route: 'POST /api/containers',
    schema: 'CreateContainerDto',
    send: (program) => ({ ...SOUND, start: { command: [program] } }),
  },
  { route: 'POST /api/auth/guest', schema: 'GuestLoginDto', send: (username) => ({ username }) },
  { route: 'POST /api/auth/sign-in', schema: 'SignInDto', send: (code) => ({ code }) },
  { route: 'POST /api/containers/{id}/exec', schema: 'RunCommandDto', send: (program) => ({ command: [program] }) },
  { route: 'POST /api/containers/{id}/exec', schema: 'RunCommandDto', send: (cwd) => ({ command: ['true'], cwd }) },
  { route: 'POST /api/containers/{id}/exec', schema: 'RunCommandDto', send: (user) => ({ command: ['true'], user }) },
  { route: 'POST /api/containers/{id}/files/mkdir', schema: 'MakeDirectoryDto', send: (path) => ({ path }) },
  { route: 'POST /api/containers/{id}/files/move', schema: 'MoveFileDto', send: (from) => ({ from, to: '/moved' }) },
  { route: 'DELETE /api/containers/{id}/files', schema: { query: 'path' }, send: (path) => ({ path }) },
  { route: 'GET /api/containers/{id}/files/list', schema: { query: 'path' }, send: (path) => ({ path }) },
  { route: 'GET /api/admin/users', schema: { query: 'username' }, send: (username) => ({ username }) },
  { route: 'GET /api/admin/users', schema: { query: 'tier' }, send: (tier) => ({ tier }) },
  { route: 'GET /api/admin/usage', schema: { query: 'user_id' }, send: (user_id) => ({ user_id }) },
  { route: 'GET /api/admin/containers', schema: { query: 'user_id' }, send: (user_id) => ({ user_id }) },
  { route: 'GET /api/audit', schema: { query: 'container_id' }, send: (container_id) => ({ container_id }) },
  { route: 'GET /api/audit', schema: { query: 'action' }, send: (action) => ({ action }) },
];

describe('what the documents declare of a text', () => {
  const ajv = addFormats(new Ajv2020({ strict: false })).addSchema({
    $id: 'document',
    components: openapi['components'],
  });
  let berth: Berth;
  let user: TestUser;
  let id: string;

  beforeAll(async () => {
    berth = await Berth.start({ engine: new FakeEngine() });
    user = await berth.user('pro', ['read', 'write', 'exec', 'admin']);
    id = (await user.api.running()).db_id;
  });
  afterAll(() => berth.stop());

  function schemaOf({ route, schema }: Place): object {
    if (typeof schema === 'string') return { $ref: `document#/components/schemas/${schema}` };
    const [method = '', path = ''] = route.split(' ');
    const operation = (openapi['paths'] as Record<string, Record<string, { parameters: Json[] }>>)[path]?.[
      method.toLowerCase()
    ];
    const parameter = operation?.parameters.find(({ name }) => name === schema.query);
    return { type: 'object', properties: { [schema.query]: parameter?.['schema'] }, required: [schema.query] };
  }

  it.each(PLACES.map((place) => [place.route, Object.keys(place.send('')).at(-1), place] as const))(
    'must be what the server takes: %s %s',
    async (route, _field, place) => {
      const validate = ajv.compile(schemaOf(place));
      const [method = '', path = ''] = route.replace('{id}', id).split(' ');
      const differing: unknown[] = [];
      for (const text of TEXTS) {
        const sent = place.send(text);
        const inQuery = typeof place.schema === 'object';
        const query = inQuery ? `?${new URLSearchParams(sent as Record<string, string>).toString()}` : '';
        const { status } = await user.api.call(method, `${path}${query}`, inQuery ? undefined : sent);
        if (validate(sent) !== (status !== 400)) differing.push({ text, status });
      }
      expect(differing).toEqual([]);
    },
  );
});
