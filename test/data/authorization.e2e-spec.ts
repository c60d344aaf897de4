import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BoundContainer, type RouteScope, type Scope, TokenService, UserService } from '../../src/auth';
import { ContainersService } from '../../src/containers';
import { RouteRegistry } from '../../src/http';
import { DEFAULT_TIERS } from '../../src/tiers/tier-table';
import { newKeyPair } from '../../src/ssh/public-key';
import { Berth, TestUser } from '../support/servers/berth';
import { newAgent } from '../support/clients/agent-client';
import { NewContainer, SMALL, testImage } from '../support/clients/api-client';
import { described } from '../support/clients/described';
import { IS_MORE } from '../support/extent';
import { FakeEngine } from '../support/fakes/fake-engine';

type Kind = 'container' | 'snapshot' | 'ssh key' | 'template' | 'token' | 'user' | 'webhook';

/** What each route asks of a caller. A route that is not here fails the test that enumerates the router. */
interface RouteRule {
  readonly scope: 'public' | RouteScope;
  /** Another scope that it needs too. */
  readonly also?: RouteScope;
  /** What `:id` or `:name` names, if anything. */
  readonly id?: Kind;
  readonly body?: object;
}

const SETTINGS = { name: 'renamed', memory_mb: 256, cpu_shares: 500, disk_mb: 1024 };
const RULES: Readonly<Record<string, RouteRule>> = {
  'GET /health/live': { scope: 'public' },
  'GET /health/ready': { scope: 'public' },
  'GET /metrics': { scope: 'public' },
  'GET /.well-known/oauth-protected-resource': { scope: 'public' },
  'GET /api/auth/methods': { scope: 'public' },
  'GET /api/auth/oidc': { scope: 'public' },
  'GET /api/auth/oidc/callback': { scope: 'public' },
  'GET /.well-known/oauth-protected-resource/mcp': { scope: 'public' },
  // Each of its tools asks for a scope of its own: mcp.e2e-spec.ts.
  'POST /mcp': { scope: 'read', body: { jsonrpc: '2.0', id: 1, method: 'ping' } },
  // Opened by the secret of a sandbox, or a signature: inside-e2b.e2e-spec.ts.
  'GET /e2b/envs': { scope: 'public' },
  'GET /e2b/files': { scope: 'public' },
  'GET /e2b/health': { scope: 'public' },
  'GET /e2b/metrics': { scope: 'public' },
  'POST /e2b/files': { scope: 'public' },
  'POST /e2b/process.Process/Start': { scope: 'public' },
  'POST /e2b/process.Process/List': { scope: 'public' },
  'POST /e2b/process.Process/Connect': { scope: 'public' },
  'POST /e2b/process.Process/SendInput': { scope: 'public' },
  'POST /e2b/process.Process/StreamInput': { scope: 'public' },
  'POST /e2b/process.Process/CloseStdin': { scope: 'public' },
  'POST /e2b/process.Process/Update': { scope: 'public' },
  'POST /e2b/process.Process/SendSignal': { scope: 'public' },
  'POST /e2b/filesystem.Filesystem/Stat': { scope: 'public' },
  'POST /e2b/filesystem.Filesystem/ListDir': { scope: 'public' },
  'POST /e2b/filesystem.Filesystem/WatchDir': { scope: 'public' },
  'POST /e2b/filesystem.Filesystem/CreateWatcher': { scope: 'public' },
  'POST /e2b/filesystem.Filesystem/GetWatcherEvents': { scope: 'public' },
  'POST /e2b/filesystem.Filesystem/RemoveWatcher': { scope: 'public' },
  'POST /e2b/filesystem.Filesystem/MakeDir': { scope: 'public' },
  'POST /e2b/filesystem.Filesystem/Move': { scope: 'public' },
  'POST /e2b/filesystem.Filesystem/Remove': { scope: 'public' },
  'GET /api/openapi.json': { scope: 'public' },
  'GET /api/asyncapi.json': { scope: 'public' },
  'GET /api/docs': { scope: 'public' },
  // The console's pages, and the files of its build.
  'GET /': { scope: 'public' },
  'GET /containers/:id': { scope: 'public' },
  'GET /deleted': { scope: 'public' },
  'GET /events': { scope: 'public' },
  'GET /new': { scope: 'public' },
  'GET /snapshots': { scope: 'public' },
  'GET /usage': { scope: 'public' },
  'GET /tokens': { scope: 'public' },
  'GET /webhooks': { scope: 'public' },
  'GET /agents': { scope: 'public' },
  'GET /admin/users': { scope: 'public' },
  'GET /admin/containers': { scope: 'public' },
  'GET /admin/images': { scope: 'public' },
  'GET /admin/machine': { scope: 'public' },
  'GET /admin/snapshots': { scope: 'public' },
  'GET /admin/templates': { scope: 'public' },
  'GET /admin/nodes': { scope: 'public' },
  'GET /admin/webhooks': { scope: 'public' },
  'GET /admin/audit': { scope: 'public' },
  'GET /assets/:file': { scope: 'public' },
  'GET /favicon.svg': { scope: 'public' },
  'POST /api/auth/guest': { scope: 'public', body: { username: 'x' } },
  'POST /api/auth/sign-in': { scope: 'public', body: { code: 'x' } },
  'POST /api/auth/codes': { scope: 'write', body: { expires_in: 0 } },
  'POST /api/containers': { scope: 'write', body: { image: 'sandbox', name: 'a name with spaces' } },
  'GET /api/containers': { scope: 'read' },
  'GET /api/containers/:id': { scope: 'read', id: 'container' },
  'GET /api/containers/:id/wait': { scope: 'read', id: 'container' },
  'POST /api/containers/:id/start': { scope: 'write', id: 'container' },
  'POST /api/containers/:id/stop': { scope: 'write', id: 'container' },
  'POST /api/containers/:id/pause': { scope: 'write', id: 'container' },
  'POST /api/containers/:id/resume': { scope: 'write', id: 'container' },
  'POST /api/containers/:id/touch': { scope: 'write', id: 'container' },
  'POST /api/containers/:id/restore': { scope: 'write', id: 'container' },
  'POST /api/containers/:id/snapshots': { scope: 'write', id: 'container', body: {} },
  'POST /api/containers/:id/fork': { scope: 'write', id: 'container', body: {} },
  'POST /api/containers/:id/restore-snapshot': {
    scope: 'write',
    id: 'container',
    body: { snapshot: '5a0d4bb2-6f0e-4d3b-9a55-0d5fb2a8a0a1' },
  },
  'GET /api/snapshots': { scope: 'read' },
  'GET /api/snapshots/:id': { scope: 'read', id: 'snapshot' },
  'GET /api/snapshots/:id/wait': { scope: 'read', id: 'snapshot' },
  'PATCH /api/snapshots/:id': { scope: 'write', id: 'snapshot', body: { name: 'renamed' } },
  'DELETE /api/snapshots/:id': { scope: 'write', id: 'snapshot' },
  'DELETE /api/containers/:id': { scope: 'write', id: 'container' },
  'PATCH /api/containers/:id': { scope: 'write', id: 'container', body: SETTINGS },
  'PATCH /api/containers/:id/settings': { scope: 'write', id: 'container', body: SETTINGS },
  'GET /api/containers/:id/stats': { scope: 'exec', id: 'container' },
  'GET /api/containers/:id/stats/history': { scope: 'exec', id: 'container' },
  'GET /api/stats/stream': { scope: 'exec' },
  'POST /api/containers/:id/exec': { scope: 'exec', id: 'container', body: { command: ['true'] } },
  'POST /api/containers/:id/exec/stream': { scope: 'exec', id: 'container', body: { command: ['true'] } },
  'POST /api/containers/:id/run-code': { scope: 'exec', id: 'container', body: { code: '1' } },
  'GET /api/containers/:id/run-code/:execution': { scope: 'exec', id: 'container' },
  'GET /api/containers/:id/terminals': { scope: 'exec', id: 'container' },
  'DELETE /api/containers/:id/terminals/:session': { scope: 'exec', id: 'container' },
  'POST /api/containers/:id/processes': { scope: 'exec', id: 'container', body: { command: ['true'] } },
  'GET /api/containers/:id/processes': { scope: 'exec', id: 'container' },
  'GET /api/containers/:id/processes/:pid': { scope: 'exec', id: 'container' },
  'GET /api/containers/:id/processes/:pid/output': { scope: 'exec', id: 'container' },
  'POST /api/containers/:id/processes/:pid/stdin': { scope: 'exec', id: 'container', body: { data: 'x' } },
  'POST /api/containers/:id/processes/:pid/signal': { scope: 'exec', id: 'container', body: { signal: 'INT' } },
  'DELETE /api/containers/:id/processes/:pid': { scope: 'exec', id: 'container' },
  'GET /api/containers/:id/ports': { scope: 'exec', id: 'container' },
  'PUT /api/containers/:id/ports/:port': { scope: 'exec', id: 'container', body: { access: 'private' } },
  'POST /api/containers/:id/ports/:port/links': { scope: 'exec', id: 'container', body: {} },
  'GET /api/containers/:id/ports/:port/links': { scope: 'exec', id: 'container' },
  'DELETE /api/containers/:id/ports/:port/links/:link': { scope: 'exec', id: 'container' },
  'GET /api/containers/:id/env': { scope: 'read', id: 'container' },
  'GET /api/containers/:id/env/:name': { scope: 'exec', id: 'container' },
  'PUT /api/containers/:id/labels': { scope: 'write', id: 'container', body: { labels: {} } },
  'GET /api/containers/:id/files': { scope: 'exec', id: 'container' },
  'PUT /api/containers/:id/files': { scope: 'exec', id: 'container', body: {} },
  'POST /api/containers/:id/files': { scope: 'exec', id: 'container', body: {} },
  'DELETE /api/containers/:id/files': { scope: 'exec', id: 'container' },
  'GET /api/containers/:id/files/list': { scope: 'exec', id: 'container' },
  'GET /api/containers/:id/files/search': { scope: 'exec', id: 'container' },
  'GET /api/containers/:id/files/watch': { scope: 'exec', id: 'container' },
  'POST /api/containers/:id/files/links': { scope: 'exec', id: 'container' },
  // The link in its query is the proof: test/unit/file-links.spec.ts.
  'GET /api/containers/:id/files/linked': { scope: 'public' },
  'POST /api/containers/:id/files/mkdir': { scope: 'exec', id: 'container', body: { path: '/tmp/x' } },
  'POST /api/containers/:id/files/move': { scope: 'exec', id: 'container', body: { from: '/tmp/x', to: '/tmp/y' } },
  'GET /api/containers/:id/archive': { scope: 'exec', id: 'container' },
  'PUT /api/containers/:id/archive': { scope: 'exec', id: 'container', body: {} },
  'POST /api/agents': { scope: 'write', body: { name: 'a name with spaces' } },
  'GET /api/agents': { scope: 'read' },
  'POST /api/webhooks': { scope: 'write', also: 'read', body: { url: 'nonsense' } },
  'GET /api/webhooks': { scope: 'read' },
  'GET /api/webhooks/:id': { scope: 'read', id: 'webhook' },
  'PATCH /api/webhooks/:id': { scope: 'write', also: 'read', id: 'webhook', body: { status: 'active' } },
  'DELETE /api/webhooks/:id': { scope: 'write', id: 'webhook' },
  'POST /api/webhooks/:id/rotate-secret': { scope: 'write', id: 'webhook', body: {} },
  'POST /api/webhooks/:id/test': { scope: 'write', id: 'webhook' },
  'GET /api/webhooks/:id/deliveries': { scope: 'read', id: 'webhook' },
  'POST /api/webhooks/:id/deliveries/:delivery/redeliver': { scope: 'write', also: 'read', id: 'webhook' },
  'GET /api/events': { scope: 'read' },
  'GET /api/events/stream': { scope: 'read' },
  'GET /api/images': { scope: 'read' },
  'GET /api/roles': { scope: 'read' },
  'GET /api/tiers': { scope: 'read' },
  'GET /api/me': { scope: 'read' },
  'GET /api/profile': { scope: 'read' },
  'GET /api/tokens/validate': { scope: 'read' },
  'GET /api/tokens': { scope: 'read' },
  'POST /api/tokens': { scope: 'write', body: { name: 'x', scopes: ['nonsense'] } },
  'DELETE /api/tokens/:id': { scope: 'write', id: 'token' },
  'GET /api/ssh': { scope: 'read' },
  'GET /api/me/ssh-keys': { scope: 'read' },
  'POST /api/me/ssh-keys': { scope: 'write', body: { name: 'x', public_key: 'nonsense' } },
  'DELETE /api/me/ssh-keys/:id': { scope: 'write', id: 'ssh key' },
  'GET /api/audit': { scope: 'read' },
  'GET /api/usage': { scope: 'read' },
  'GET /api/admin/users': { scope: 'admin' },
  'POST /api/admin/users': { scope: 'admin', body: { username: '!', tier: 'pro' } },
  'PATCH /api/admin/users/:id': { scope: 'admin', id: 'user', body: { tier: 'pro' } },
  'DELETE /api/admin/users/:id': { scope: 'admin', id: 'user' },
  'POST /api/admin/users/:id/revoke-tokens': { scope: 'admin', id: 'user' },
  'GET /api/admin/containers': { scope: 'admin' },
  'GET /api/admin/snapshots': { scope: 'admin' },
  'DELETE /api/admin/snapshots/:id': { scope: 'admin', id: 'snapshot' },
  'GET /api/admin/templates': { scope: 'admin' },
  'GET /api/admin/templates/:name': { scope: 'admin', id: 'template' },
  'PUT /api/admin/templates/:name': { scope: 'admin', body: { image: 'sandbox', version: '1' } },
  'DELETE /api/admin/templates/:name': { scope: 'admin', id: 'template' },
  'POST /api/admin/webhooks': { scope: 'admin', body: { url: 'nonsense' } },
  'GET /api/admin/webhooks': { scope: 'admin' },
  'GET /api/admin/webhooks/:id': { scope: 'admin', id: 'webhook' },
  'PATCH /api/admin/webhooks/:id': { scope: 'admin', id: 'webhook', body: { status: 'active' } },
  'DELETE /api/admin/webhooks/:id': { scope: 'admin', id: 'webhook' },
  'POST /api/admin/webhooks/:id/rotate-secret': { scope: 'admin', id: 'webhook', body: {} },
  'POST /api/admin/webhooks/:id/test': { scope: 'admin', id: 'webhook' },
  'GET /api/admin/webhooks/:id/deliveries': { scope: 'admin', id: 'webhook' },
  'POST /api/admin/webhooks/:id/deliveries/:delivery/redeliver': { scope: 'admin', id: 'webhook' },
  'GET /api/admin/capacity': { scope: 'admin' },
  'GET /api/admin/capacity/history': { scope: 'admin' },
  'GET /api/admin/usage': { scope: 'admin' },
  'GET /api/admin/warm': { scope: 'admin' },
  'DELETE /api/admin/warm': { scope: 'admin' },
  'POST /api/admin/containers/:id/start': { scope: 'admin', id: 'container' },
  'POST /api/admin/containers/:id/stop': { scope: 'admin', id: 'container' },
  'POST /api/admin/containers/:id/move': { scope: 'admin', id: 'container' },
  'DELETE /api/admin/containers/:id': { scope: 'admin', id: 'container' },
  'DELETE /api/admin/tokens/:id': { scope: 'admin', id: 'token' },
  'POST /api/admin/docker/accept': { scope: 'admin' },
  'POST /api/admin/images/:name/pull': { scope: 'admin' },
  'GET /api/admin/nodes': { scope: 'admin' },
  'GET /api/admin/nodes/:name/history': { scope: 'admin' },
  'POST /api/admin/nodes/:name/drain': { scope: 'admin' },
  'POST /api/admin/nodes/:name/activate': { scope: 'admin' },
  'POST /api/admin/nodes/:name/forget': { scope: 'admin' },
  'POST /api/admin/reconcile': { scope: 'admin' },
};

/** E2B's control API, whose errors have E2B's form. */
const OF_E2B: Readonly<Record<string, readonly [RouteScope, ...RouteScope[]]>> = {
  'POST /e2b/sandboxes': ['write', 'exec'],
  'POST /e2b/v2/sandboxes': ['write', 'exec'],
  'GET /e2b/sandboxes': ['read'],
  'GET /e2b/v2/sandboxes': ['read'],
  'GET /e2b/sandboxes/:id': ['read', 'exec'],
  'DELETE /e2b/sandboxes/:id': ['write'],
  'POST /e2b/sandboxes/:id/timeout': ['write'],
  'POST /e2b/sandboxes/:id/refreshes': ['write'],
  'POST /e2b/sandboxes/:id/connect': ['write', 'exec'],
  'POST /e2b/v2/sandboxes/:id/connect': ['write', 'exec'],
  'POST /e2b/sandboxes/:id/resume': ['write', 'exec'],
  'POST /e2b/sandboxes/:id/pause': ['write'],
  'POST /e2b/sandboxes/:id/fork': ['write', 'exec'],
  'PUT /e2b/sandboxes/:id/network': ['write'],
  'POST /e2b/sandboxes/:id/snapshots': ['write'],
  'GET /e2b/sandboxes/:id/metrics': ['read', 'exec'],
  'GET /e2b/sandboxes/:id/logs': ['read'],
  'GET /e2b/v2/sandboxes/:id/logs': ['read'],
  'GET /e2b/snapshots': ['read'],
  'GET /e2b/templates': ['read'],
  'GET /e2b/templates/aliases/:alias': ['read'],
  'DELETE /e2b/templates/:id': ['write'],
  'POST /e2b/templates': ['read'],
  'POST /e2b/v2/templates': ['read'],
  'POST /e2b/v3/templates': ['read'],
  ...Object.fromEntries(
    ['volumes', 'volumes/:id', 'secrets', 'secrets/:id'].flatMap((path) =>
      ['GET', 'POST', 'DELETE'].map((method) => [`${method} /e2b/${path}`, ['read'] as const]),
    ),
  ),
};

/** What a token for one container opens: all other routes refuse it. */
const FOR_CONTAINER_TOKENS = [
  ...Object.entries(RULES).flatMap(([route, { id, scope }]) => {
    const isPublic = scope === 'public' || scope === 'admin';
    return !isPublic && (id === 'container' || id === 'snapshot') ? [route] : [];
  }),
  'GET /api/containers',
  'GET /api/events',
  'GET /api/events/stream',
  'GET /api/me',
  'GET /api/snapshots',
  'GET /api/stats/stream',
  'GET /api/tokens/validate',
  'POST /mcp',
  ...Object.keys(OF_E2B).filter((route) => route.includes('/sandboxes/:id')),
  'GET /e2b/sandboxes',
  'GET /e2b/v2/sandboxes',
  'GET /e2b/snapshots',
  // Deletes a snapshot; templates are for administrators.
  'DELETE /e2b/templates/:id',
];

/** The most that a token can hold without what a route asks for; nobody sees into containers for being `admin`. */
const WITHOUT: Readonly<Record<RouteScope, readonly Scope[]>> = {
  read: ['write', 'exec'],
  write: ['read', 'exec'],
  exec: ['read', 'write', 'admin'],
  admin: ['read', 'write', 'exec'],
};

/** The documentation's own files; what they hold is public. */
const isDocumentation = (url: string): boolean => url.startsWith('/api/docs');
const PROTECTED = Object.entries(RULES).filter(([, { scope }]) => scope !== 'public');
const WITH_ID = PROTECTED.filter(([, { id }]) => id !== undefined);

describe('authorization', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-authorization-'));
  let berth: Berth;
  let owner: TestUser;
  let stranger: TestUser;
  let container: NewContainer;
  let agentId: string;
  let tokenId: string;
  let snapshotId: string;
  let webhookId: string;
  let sshKeyId: string;

  beforeAll(async () => {
    const tiers = { ...DEFAULT_TIERS.tiers, closed: Object.assign({ exec: false }, DEFAULT_TIERS.tiers['pro']) };
    const TIERS_FILE = join(folder, 'tiers.json');
    writeFileSync(TIERS_FILE, JSON.stringify({ ...DEFAULT_TIERS, tiers }));
    berth = await Berth.start({
      engine: new FakeEngine(),
      environment: { TIERS_FILE, VOLUME_COPY_IMAGE: testImage() },
    });
    owner = await berth.user();
    stranger = await berth.user();
    container = await owner.api.running();
    agentId = (await newAgent(owner)).id;
    tokenId = String((await owner.api.call('POST', '/api/tokens', { name: 'spare' })).body['id']);
    const key = { name: 'key', public_key: newKeyPair().public };
    sshKeyId = String((await owner.api.call('POST', '/api/me/ssh-keys', key)).body['id']);
    const snapshot = await owner.api.call('POST', `/api/containers/${container.db_id}/snapshots`, {});
    expect(snapshot).toMatchObject({ status: 202 });
    snapshotId = String(snapshot.body['id']);
    const ready = await owner.api.call('GET', `/api/snapshots/${snapshotId}/wait`);
    expect(ready).toMatchObject({ status: 200 });
    const webhook = await owner.api.call('POST', '/api/webhooks', { url: 'https://hooks.example.com/' });
    webhookId = String(webhook.body['id']);
  });

  afterAll(async () => {
    await berth.stop();
    rmSync(folder, { recursive: true });
  });

  it('must be tested for every route that the router knows', () => {
    const routes = berth.app
      .get(RouteRegistry)
      .routes.filter(({ method, url }) => method !== 'HEAD' && method !== 'OPTIONS' && !isDocumentation(url))
      .map(({ method, url }) => `${method} ${url}`);
    const ruled = Object.keys({ ...RULES, ...OF_E2B }).filter((route) => !isDocumentation(route.split(' ')[1] ?? ''));
    expect([...new Set(routes)].sort()).toEqual(ruled.sort());
  });

  describe.each(PROTECTED)('%s', (route, { scope, also, id, body }) => {
    const needed = [scope as RouteScope, ...(also ? [also] : [])];

    it.each<[what: string, headers: () => Promise<Record<string, string>>]>([
      ['no token', () => Promise.resolve({})],
      ['another scheme', () => Promise.resolve({ authorization: `Basic ${Buffer.from('a:b').toString('base64')}` })],
      ['a malformed token', () => Promise.resolve({ authorization: 'Bearer berth_short' })],
      ['an unknown token', () => Promise.resolve({ authorization: `Bearer berth_${'0'.repeat(64)}` })],
      ['a revoked token', async () => bearer(await revoked())],
      ['an expired token', async () => bearer(await issued(['read', 'write'], new Date(Date.now() - 1000)))],
    ])('must refuse %s', async (what, headers) => {
      const answer = await call(route, await headers(), id ? idOf(id) : '', body);
      expect(answer.status).toBe(401);
      const error = /no token|another scheme/.test(what) ? '' : ', error="invalid_token"';
      const metadata = `, resource_metadata="${berth.url}/.well-known/oauth-protected-resource/mcp"`;
      const challenge = `Bearer realm="berth"${error}${route === 'POST /mcp' ? metadata : ''}`;
      expect(answer.headers.get('www-authenticate')).toBe(challenge);
      expect(await answer.json()).toEqual({
        error: 'unauthorized',
        code: 'unauthorized',
        request_id: expect.any(String),
      });
    });

    it('must refuse a token in the address', async () => {
      const [method = '', path = ''] = route.split(' ');
      const target = `${berth.url}${withId(path, id ? idOf(id) : '')}?access_token=${owner.token}`;
      expect((await fetch(target, { method })).status).toBe(401);
    });

    it('must refuse a token without the scope', async () => {
      for (const scopes of [...needed.map((each) => WITHOUT[each]), ['agent']] as const) {
        const answer = await call(route, bearer(await issued(scopes)), id ? idOf(id) : '', body);
        expect(answer.status).toBe(403);
        expect(await answer.json()).toMatchObject({
          error: 'insufficient permissions',
          code: 'insufficient_permissions',
        });
      }
    });

    it('must let a token with what it needs alone through to its own faults', async () => {
      const answer = await call(route, bearer(await issued(needed)), randomUUID(), {
        unknown: 1,
      });
      expect([401, 403]).not.toContain(answer.status);
    });
  });

  describe.each(Object.entries(OF_E2B))('%s', (route, scopes) => {
    it("must refuse keys that are no tokens, and tokens without the scopes, in E2B's form", async () => {
      const unknown = [{}, { 'x-api-key': 'nonsense' }, { 'x-api-key': `e2b_${'0'.repeat(40)}` }, bearer('nonsense')];
      for (const headers of unknown) {
        const answer = await call(route, headers, container.db_id, {});
        expect([answer.status, await answer.json()]).toEqual([401, { code: 401, message: expect.any(String) }]);
      }
      for (const scope of scopes) {
        const answer = await call(route, { 'x-api-key': await issued(WITHOUT[scope]) }, container.db_id, {});
        expect([answer.status, await answer.json()]).toEqual([403, { code: 403, message: expect.any(String) }]);
      }
    });

    it("must not find somebody else's, and lets a token with the scopes alone through", async () => {
      if (route.includes('/sandboxes/:id')) {
        const answer = await call(route, { 'x-api-key': stranger.token }, container.db_id, {});
        expect([answer.status, await answer.json()]).toEqual([404, { code: 404, message: expect.any(String) }]);
      }
      const answer = await call(route, { 'x-api-key': await issued(scopes) }, randomUUID(), { unknown: 1 });
      expect([401, 403]).not.toContain(answer.status);
    });
  });

  // An admin may; what happens then is tested with the rest of what admins do.
  describe.each(WITH_ID.filter(([, { scope }]) => scope !== 'admin'))('%s', (route, { id, body }) => {
    it("must distinguish somebody else's from what is not there", async () => {
      const ofContainer = [
        container.db_id,
        container.db_id.slice(0, 12),
        container.id,
        container.id.slice(0, 12),
        agentId,
      ];
      const forms = id === 'container' ? ofContainer : [id === undefined ? '' : idOf(id)];
      for (const form of forms) {
        const answer = await call(withQuery(route), bearer(stranger.token), form, body);
        const isOwn = id === 'token' || id === 'ssh key';
        expect(answer.status).toBe(isOwn ? 404 : 403);
        const expected = { error: isOwn ? `${id} not found` : 'not authorized' };
        expect(await answer.json()).toMatchObject(expected);
      }
    });
  });

  describe.each(WITH_ID)('%s', (route, { scope, id, body }) => {
    it('must not find what is not there, whatever it looks like', async () => {
      const odd = ['nonsense', '..%2F..%2Fetc', '%E2%80%AE', '0', '-1', 'agent:x', 'a'.repeat(64)];
      const few = [randomUUID(), 'b'.repeat(12), 'A'.repeat(500), "1'%20OR%20'1'='1", '%00'];
      const forms = [...few, ...(IS_MORE ? [...odd, randomUUID().slice(0, 12)] : [])];
      for (const form of forms) {
        const caller = scope === 'admin' ? await issued(['admin']) : owner.token;
        const answer = await call(withQuery(route), bearer(caller), form, body);
        expect(answer.status).toBe(404);
        expect(await answer.json()).toMatchObject({ error: `${String(id)} not found` });
      }
    });
  });

  const byContainerId = WITH_ID.filter(([, { scope, id }]) => id === 'container' && scope !== 'admin');
  it.each(byContainerId)('%s must say of an unknown agent that it is one', async (route, { body }) => {
    const answer = await call(withQuery(route), bearer(owner.token), `agent:${randomUUID()}`, body);
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ error: 'agent not found', code: 'agent_not_found' });
  });

  it('must let nobody into a container whose tier allows no exec, and other modules neither', async () => {
    const users = berth.app.get(UserService);
    await users.change(owner.id, { tier: 'closed' });
    for (const [route, { scope, body }] of WITH_ID) {
      if (scope !== 'exec') continue;
      const answer = await call(withQuery(route), bearer(owner.token), container.db_id, body);
      expect([route, answer.status]).toEqual([route, 403]);
      expect(await answer.json()).toMatchObject({ code: 'exec_not_allowed', tier: 'closed' });
    }
    const caller = { userId: owner.id, tier: 'closed', sessionExpiresAt: null, boundTo: null };
    const exec = berth.app
      .get(ContainersService)
      .exec(caller, container.db_id, { command: ['true'], timeoutMs: 1000, maxOutputBytes: 1 });
    await expect(exec).rejects.toMatchObject({ kind: 'exec_not_allowed' });
    const start = { command: ['true'] };
    const { name } = container;
    const answers = [
      await owner.api.create({ start }),
      await owner.api.update(container.db_id, { name, ...SMALL, start }),
      await owner.api.update(container.db_id, { name, ...SMALL, start: null }),
    ];
    expect(answers.map(({ status, body }) => [status, body['code']])).toEqual([
      [403, 'exec_not_allowed'],
      [403, 'exec_not_allowed'],
      [200, undefined],
    ]);
    await users.change(owner.id, { tier: 'pro' });
  });

  it('must not have harmed the container and the agent that strangers tried to reach', async () => {
    expect((await owner.api.get(agentId)).body).toMatchObject({ id: agentId, status: 'offline' });
    expect((await owner.api.get(container.db_id)).body).toMatchObject({ status: 'running', id: container.id });
  });

  describe('a token for one container', () => {
    let bound: string;
    let own: string;

    beforeAll(async () => {
      own = (await owner.api.running()).db_id;
      bound = await issued(['read', 'write', 'exec', 'admin'], null, { id: own, withForks: true });
    });

    it('must be refused by every route that does not declare that it takes such tokens', async () => {
      const open: string[] = [];
      for (const route of [...PROTECTED.map(([each]) => each), ...Object.keys(OF_E2B)]) {
        const answer = await call(route, bearer(bound), randomUUID(), { unknown: 1 });
        if (answer.status !== 403) open.push(route);
        else expect(await answer.text()).toContain('insufficient permissions');
        await answer.body?.cancel().catch(() => undefined);
      }
      expect(open.sort()).toEqual(FOR_CONTAINER_TOKENS.sort());
    });

    it.each(WITH_ID.filter(([route]) => FOR_CONTAINER_TOKENS.includes(route)))(
      '%s must not open anything else of its user',
      async (route, { id, body }) => {
        const forms = id === 'container' ? [container.db_id, container.id, agentId] : [idOf(id as Kind)];
        for (const form of forms) {
          const answer = await call(withQuery(route), bearer(bound), form, body);
          expect([answer.status, await answer.json()]).toEqual([
            403,
            expect.objectContaining({ code: 'not_authorized' }),
          ]);
        }
      },
    );

    it.each(Object.keys(OF_E2B).filter((route) => route.includes('/sandboxes/:id')))(
      '%s must not open another sandbox of its user',
      async (route) => {
        expect((await call(route, { 'x-api-key': bound }, container.db_id, {})).status).toBe(404);
      },
    );

    it('must open its container by every route about one', async () => {
      const isLast = (route: string): boolean => /^DELETE .*:id$/.test(route);
      const routes = WITH_ID.filter(([route, { id }]) => id === 'container' && FOR_CONTAINER_TOKENS.includes(route));
      const ordered = [...routes.filter(([route]) => !isLast(route)), ...routes.filter(([route]) => isLast(route))];
      for (const [route, { body }] of ordered) {
        const answer = await call(withQuery(route), bearer(bound), own, body);
        expect([route, [401, 403].includes(answer.status)]).toEqual([route, false]);
        await answer.body?.cancel().catch(() => undefined);
      }
      expect((await owner.api.get(own)).status).toBe(404);
    });
  });

  it('must not let a token make a stronger one', async () => {
    const weak = bearer(await issued(['write']));
    const answer = await call('POST /api/tokens', weak, '', { name: 'stronger', scopes: ['write', 'admin'] });
    expect(answer.status).toBe(403);
  });

  /** The path of what the id names; without one, its pattern. */
  function withId(path: string, id: string): string {
    return path.replace(/:(id|name)/, (parameter) => id || parameter);
  }

  function idOf(kind: Kind): string {
    const ids: Record<Kind, string> = {
      container: container.db_id,
      snapshot: snapshotId,
      'ssh key': sshKeyId,
      template: 'tools',
      token: tokenId,
      user: owner.id,
      webhook: webhookId,
    };
    return ids[kind];
  }

  async function call(route: string, headers: Record<string, string>, id: string, body?: object): Promise<Response> {
    const [method = '', path = ''] = route.split(' ');
    const json = method === 'GET' || method === 'DELETE' || body === undefined ? null : JSON.stringify(body);
    const answer = await fetch(`${berth.url}${withId(path, id)}`, {
      method,
      headers: { ...headers, ...(json !== null && { 'content-type': 'application/json' }) },
      ...(json !== null && { body: json }),
    });
    return described(method, answer);
  }

  function bearer(token: string): Record<string, string> {
    return { authorization: `Bearer ${token}` };
  }

  async function issued(
    scopes: readonly Scope[],
    expiresAt: Date | null = null,
    boundTo?: BoundContainer,
  ): Promise<string> {
    const options = { userId: owner.id, name: 'matrix', scopes, expiresAt, ...(boundTo && { boundTo }) };
    const { text } = await berth.app.get(TokenService).issue(options);
    return text;
  }

  async function revoked(): Promise<string> {
    const service = berth.app.get(TokenService);
    const { text, token } = await service.issue({
      userId: owner.id,
      name: 'revoked',
      scopes: ['read', 'write'],
      expiresAt: null,
    });
    await service.revoke({ userId: owner.id, tokenId: token.id });
    return text;
  }
});

/** The wait needs a status to get past its validation, and files need a path. */
function withQuery(route: string): string {
  if (route.endsWith('snapshots/:id/wait')) return route;
  if (route.endsWith('/wait')) return `${route}?status=running&timeout=0`;
  if (route.endsWith('/files/search')) return `${route}?path=/tmp&name=x`;
  return /\/(files|files\/links|list|archive|files\/watch)$/.test(route) ? `${route}?path=/tmp/x` : route;
}
