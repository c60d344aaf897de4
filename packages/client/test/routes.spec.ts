import { readFileSync } from 'node:fs';
import { Berth } from '../src/index.ts';

interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
}

const DOCUMENT = JSON.parse(readFileSync('docs/openapi.json', 'utf8')) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
};

/** Those that no program needs which has the others. */
const WITHOUT_METHOD: readonly string[] = [
  // `account.me()` says it.
  'GET /api/profile',
  'GET /api/tokens/validate',
  // A form's; `files.write()` is for programs.
  'POST /api/containers/{id}/files',
  // For programs that have no token; `files.link()` gives its address.
  'GET /api/containers/{id}/files/linked',
  // Another name of `PATCH /api/containers/{id}`.
  'PATCH /api/containers/{id}/settings',
  'GET /metrics',
  'GET /health/live',
  'GET /health/ready',
];

/** What each method asks for. */
const METHODS: readonly [string, (berth: Berth) => unknown][] = [
  ['POST /api/tokens {"name":"ci"}', (berth) => berth.tokens.create({ name: 'ci' })],
  ['GET /api/tokens', (berth) => berth.tokens.list()],
  ['DELETE /api/tokens/{id}', (berth) => berth.tokens.revoke('ID')],
  ['POST /api/auth/guest {"username":"ada"}', (berth) => berth.account.loginAsGuest('ada')],
  ['POST /api/auth/codes {"expires_in":60}', (berth) => berth.account.createSignInCode({ expires_in: 60 })],
  ['GET /api/auth/methods', (berth) => berth.account.signInMethods()],
  ['POST /api/auth/sign-in {"code":"c"}', (berth) => berth.account.signIn('c')],
  ['GET /api/me', (berth) => berth.account.me()],
  ['GET /api/ssh', (berth) => berth.ssh.server()],
  [
    'POST /api/me/ssh-keys {"name":"a","public_key":"k"}',
    (berth) => berth.ssh.createKey({ name: 'a', public_key: 'k' }),
  ],
  ['GET /api/me/ssh-keys', (berth) => berth.ssh.keys()],
  ['DELETE /api/me/ssh-keys/{id}', (berth) => berth.ssh.deleteKey('ID')],
  ['GET /api/tiers', (berth) => berth.account.tiers()],
  ['GET /api/images', (berth) => berth.account.images()],
  ['GET /api/roles', (berth) => berth.account.roles()],
  ['GET /api/usage?from=2026-11-01', (berth) => berth.account.usage({ from: '2026-11-01' })],
  ['GET /api/audit?action=token.create', (berth) => berth.account.audit({ action: 'token.create' }).page()],
  ['GET /api/events?after=7&limit=5', (berth) => berth.events.page(7, { limit: 5 })],
  ['GET /api/events/stream?after=7', (berth) => berth.events.follow({ after: 7 }).next()],
  ['POST /api/agents {"name":"pi"}', (berth) => berth.agents.create({ name: 'pi' })],
  ['GET /api/agents', (berth) => berth.agents.list()],
  ['POST /api/containers {"image":"sandbox"}', (berth) => berth.containers.create({ image: 'sandbox' })],
  [
    'GET /api/containers?status=error&label=a',
    (berth) => berth.containers.list({ status: 'error', labels: ['a'] }).all(),
  ],
  ['GET /api/containers/{id}', (berth) => berth.containers.get('ID')],
  ['GET /api/containers/{id}/wait?status=stopped&timeout=60', (berth) => berth.containers.wait('ID', 'stopped')],
  ['POST /api/containers/{id}/start', (berth) => berth.containers.start('ID')],
  ['POST /api/containers/{id}/stop', (berth) => berth.containers.stop('ID')],
  ['POST /api/containers/{id}/pause', (berth) => berth.containers.pause('ID')],
  ['POST /api/containers/{id}/resume', (berth) => berth.containers.resume('ID')],
  ['POST /api/containers/{id}/touch', (berth) => berth.containers.touch('ID')],
  ['PUT /api/containers/{id}/labels {"labels":{"a":"b"}}', (berth) => berth.containers.setLabels('ID', { a: 'b' })],
  [
    'PATCH /api/containers/{id} {"name":"n","memory_mb":256,"cpu_shares":500,"disk_mb":1024}',
    (berth) => berth.containers.replaceSettings('ID', { name: 'n', memory_mb: 256, cpu_shares: 500, disk_mb: 1024 }),
  ],
  [
    'PATCH /api/containers/{id} {"name":"n","env":{"A":null}}',
    (berth) => berth.containers.update('ID', { name: 'n', env: { A: null } }),
  ],
  ['GET /api/containers/{id}', (berth) => berth.containers.getTagged('ID')],
  ['DELETE /api/containers/{id}?force=true', (berth) => berth.containers.delete('ID', { force: true })],
  ['POST /api/containers/{id}/restore', (berth) => berth.containers.restore('ID')],
  ['POST /api/containers/{id}/snapshots {"name":"s"}', (berth) => berth.snapshots.create('ID', { name: 's' })],
  ['POST /api/containers/{id}/fork {"count":2}', (berth) => berth.snapshots.fork('ID', { count: 2 })],
  [
    'POST /api/containers/{id}/restore-snapshot {"snapshot":"S"}',
    (berth) => berth.snapshots.restore('ID', { snapshot: 'S' }),
  ],
  ['GET /api/snapshots?container=C&label=a', (berth) => berth.snapshots.list({ container: 'C', labels: ['a'] }).all()],
  ['GET /api/snapshots/{id}', (berth) => berth.snapshots.get('ID')],
  ['GET /api/snapshots/{id}/wait?timeout=60', (berth) => berth.snapshots.wait('ID')],
  ['PATCH /api/snapshots/{id} {"name":"s"}', (berth) => berth.snapshots.update('ID', { name: 's' })],
  ['DELETE /api/snapshots/{id}', (berth) => berth.snapshots.delete('ID')],
  ['POST /api/containers/{id}/exec {"command":["ls"],"cwd":"/"}', (berth) => berth.exec('ID', ['ls'], { cwd: '/' })],
  ['POST /api/containers/{id}/exec {"command":["ls"]}', (berth) => berth.commands.follow('ID', ['ls']).next()],
  [
    'POST /api/containers/{id}/exec/stream {"command":["wc"]}\ntext',
    (berth) => berth.commands.stream('ID', ['wc'], { input: 'text' }).next(),
  ],
  [
    'POST /api/containers/{id}/run-code {"code":"1","context":"c"}',
    (berth) => berth.code.run('ID', '1', { context: 'c' }),
  ],
  ['POST /api/containers/{id}/run-code {"code":"1"}', (berth) => berth.code.stream('ID', '1').next()],
  ['POST /api/containers/{id}/run-code {"code":"1","detached":true}', (berth) => berth.code.start('ID', '1')],
  ['GET /api/containers/{id}/run-code/{execution}', (berth) => berth.code.output('ID', 'EXECUTION')],
  [
    'GET /api/containers/{id}/run-code/{execution}?after=3',
    (berth) => berth.code.follow('ID', 'EXECUTION', { after: 3 }).next(),
  ],
  ['GET /api/containers/{id}/files?path=%2Fa', (berth) => berth.files.read('ID', '/a')],
  ['PUT /api/containers/{id}/files?path=%2Fa text', (berth) => berth.files.write('ID', '/a', 'text')],
  ['DELETE /api/containers/{id}/files?path=%2Fa', (berth) => berth.files.delete('ID', '/a')],
  [
    'GET /api/containers/{id}/files/list?path=%2Fa&limit=9',
    (berth) => berth.files.list('ID', '/a', { limit: 9 }).page(),
  ],
  [
    'GET /api/containers/{id}/files/search?path=%2Fa&name=*.ts&limit=9',
    (berth) => berth.files.search('ID', '/a', { name: '*.ts', limit: 9 }),
  ],
  [
    'GET /api/containers/{id}/files/watch?path=%2Fa&recursive=true',
    (berth) => berth.files.watch('ID', '/a', { recursive: true }),
  ],
  ['POST /api/containers/{id}/files/links?path=%2Fa', (berth) => berth.files.link('ID', '/a')],
  ['POST /api/containers/{id}/files/mkdir {"path":"/a"}', (berth) => berth.files.makeDirectory('ID', '/a')],
  ['POST /api/containers/{id}/files/move {"from":"/a","to":"/b"}', (berth) => berth.files.move('ID', '/a', '/b')],
  ['GET /api/containers/{id}/env', (berth) => berth.containers.variables('ID')],
  ['GET /api/containers/{id}/env/{name}', (berth) => berth.containers.variable('ID', 'NAME')],
  ['GET /api/containers/{id}/archive?path=%2Fa', (berth) => berth.files.readArchive('ID', '/a')],
  ['PUT /api/containers/{id}/archive?path=%2Fa tar', (berth) => berth.files.writeArchive('ID', '/a', 'tar')],
  ['POST /api/containers/{id}/processes {"command":["ls"]}', (berth) => berth.processes.start('ID', ['ls'])],
  ['GET /api/containers/{id}/processes', (berth) => berth.processes.list('ID')],
  ['GET /api/containers/{id}/processes/{pid}', (berth) => berth.processes.get('ID', 'PID')],
  [
    'GET /api/containers/{id}/processes/{pid}/output?after=3',
    (berth) => berth.processes.output('ID', 'PID', { after: 3 }),
  ],
  [
    'GET /api/containers/{id}/processes/{pid}/output?after=3',
    (berth) => berth.processes.follow('ID', 'PID', { after: 3 }).next(),
  ],
  [
    'POST /api/containers/{id}/processes/{pid}/stdin {"data":"y"}',
    (berth) => berth.processes.write('ID', 'PID', { data: 'y' }),
  ],
  [
    'POST /api/containers/{id}/processes/{pid}/signal {"signal":"INT"}',
    (berth) => berth.processes.signal('ID', 'PID', 'INT'),
  ],
  ['DELETE /api/containers/{id}/processes/{pid}', (berth) => berth.processes.end('ID', 'PID')],
  ['GET /api/containers/{id}/terminals', (berth) => berth.terminals.list('ID')],
  ['DELETE /api/containers/{id}/terminals/{session}', (berth) => berth.terminals.end('ID', 'SESSION')],
  ['GET /api/containers/{id}/ports', (berth) => berth.ports.list('ID')],
  ['PUT /api/containers/{id}/ports/{port} {"access":"public"}', (berth) => berth.ports.setAccess('ID', 3000, 'public')],
  [
    'POST /api/containers/{id}/ports/{port}/links {"once":true}',
    (berth) => berth.ports.createLink('ID', 3000, { once: true }),
  ],
  ['GET /api/containers/{id}/ports/{port}/links', (berth) => berth.ports.links('ID', 3000)],
  ['DELETE /api/containers/{id}/ports/{port}/links/{link}', (berth) => berth.ports.revokeLink('ID', 3000, 'LINK')],
  ['GET /api/containers/{id}/stats', (berth) => berth.stats.get('ID')],
  ['GET /api/containers/{id}/stats', (berth) => berth.stats.follow('ID').next()],
  ['GET /api/containers/{id}/stats/history', (berth) => berth.stats.history('ID')],
  ['GET /api/stats/stream?ids=a%2Cb', (berth) => berth.stats.followMany(['a', 'b']).next()],
  ['GET /api/containers/{id}/ports', (berth) => berth.ports.follow('ID').next()],
  ['GET /api/webhooks?limit=5', (berth) => berth.webhooks.list({ limit: 5 }).page()],
  [
    'POST /api/webhooks {"url":"https://hooks.example.com/"}',
    (berth) => berth.webhooks.create({ url: 'https://hooks.example.com/' }),
  ],
  ['GET /api/webhooks/{id}', (berth) => berth.webhooks.get('ID')],
  ['PATCH /api/webhooks/{id} {"status":"paused"}', (berth) => berth.webhooks.update('ID', { status: 'paused' })],
  ['DELETE /api/webhooks/{id}', (berth) => berth.webhooks.delete('ID')],
  ['POST /api/webhooks/{id}/rotate-secret {}', (berth) => berth.webhooks.rotateSecret('ID')],
  ['POST /api/webhooks/{id}/test', (berth) => berth.webhooks.test('ID')],
  [
    'GET /api/webhooks/{id}/deliveries?status=lost',
    (berth) => berth.webhooks.deliveries('ID', { status: 'lost' }).page(),
  ],
  ['POST /api/webhooks/{id}/deliveries/{delivery}/redeliver', (berth) => berth.webhooks.redeliver('ID', 'DELIVERY')],
  ['GET /api/admin/webhooks?limit=5', (berth) => berth.admin.webhooks.list({ limit: 5 }).page()],
  [
    'POST /api/admin/webhooks {"url":"https://hooks.example.com/"}',
    (berth) => berth.admin.webhooks.create({ url: 'https://hooks.example.com/' }),
  ],
  ['GET /api/admin/webhooks/{id}', (berth) => berth.admin.webhooks.get('ID')],
  [
    'PATCH /api/admin/webhooks/{id} {"status":"paused"}',
    (berth) => berth.admin.webhooks.update('ID', { status: 'paused' }),
  ],
  ['DELETE /api/admin/webhooks/{id}', (berth) => berth.admin.webhooks.delete('ID')],
  ['POST /api/admin/webhooks/{id}/rotate-secret {}', (berth) => berth.admin.webhooks.rotateSecret('ID')],
  ['POST /api/admin/webhooks/{id}/test', (berth) => berth.admin.webhooks.test('ID')],
  [
    'GET /api/admin/webhooks/{id}/deliveries?status=lost',
    (berth) => berth.admin.webhooks.deliveries('ID', { status: 'lost' }).page(),
  ],
  [
    'POST /api/admin/webhooks/{id}/deliveries/{delivery}/redeliver',
    (berth) => berth.admin.webhooks.redeliver('ID', 'DELIVERY'),
  ],
  ['GET /api/admin/snapshots?user_id=U', (berth) => berth.admin.snapshots({ user_id: 'U' }).page()],
  ['DELETE /api/admin/snapshots/{id}', (berth) => berth.admin.deleteSnapshot('ID')],
  ['GET /api/admin/templates', (berth) => berth.admin.templates()],
  ['GET /api/admin/templates/{name}', (berth) => berth.admin.template('NAME')],
  [
    'PUT /api/admin/templates/{name} {"image":"i","version":"1"}',
    (berth) => berth.admin.putTemplate('NAME', { image: 'i', version: '1' }),
  ],
  ['DELETE /api/admin/templates/{name}', (berth) => berth.admin.deleteTemplate('NAME')],
  ['GET /api/admin/users?tier=free', (berth) => berth.admin.users({ tier: 'free' }).page()],
  ['GET /api/admin/users?search=ad', (berth) => berth.admin.users({ search: 'ad' }).page()],
  [
    'POST /api/admin/users {"username":"ada","tier":"pro"}',
    (berth) => berth.admin.createUser({ username: 'ada', tier: 'pro' }),
  ],
  ['PATCH /api/admin/users/{id} {"tier":"pro"}', (berth) => berth.admin.updateUser('ID', { tier: 'pro' })],
  ['DELETE /api/admin/users/{id}', (berth) => berth.admin.deleteUser('ID')],
  ['POST /api/admin/users/{id}/revoke-tokens', (berth) => berth.admin.revokeTokensOf('ID')],
  ['DELETE /api/admin/tokens/{id}', (berth) => berth.admin.revokeToken('ID')],
  ['GET /api/admin/containers?user_id=u', (berth) => berth.admin.containers({ user_id: 'u' }).page()],
  [
    'GET /api/admin/containers?search=web&node=n1',
    (berth) => berth.admin.containers({ search: 'web', node: 'n1' }).page(),
  ],
  ['POST /api/admin/containers/{id}/start', (berth) => berth.admin.startContainer('ID')],
  ['POST /api/admin/containers/{id}/stop', (berth) => berth.admin.stopContainer('ID')],
  ['POST /api/admin/containers/{id}/move {"node":"two"}', (berth) => berth.admin.moveContainer('ID', { node: 'two' })],
  ['DELETE /api/admin/containers/{id}', (berth) => berth.admin.deleteContainer('ID')],
  ['GET /api/admin/capacity', (berth) => berth.admin.capacity()],
  ['GET /api/admin/capacity/history', (berth) => berth.admin.capacityHistory()],
  ['GET /api/admin/warm', (berth) => berth.admin.warm()],
  ['DELETE /api/admin/warm', (berth) => berth.admin.emptyWarm()],
  ['POST /api/admin/reconcile', (berth) => berth.admin.reconcile()],
  ['POST /api/admin/docker/accept', (berth) => berth.admin.acceptDocker()],
  ['POST /api/admin/images/{name}/pull', (berth) => berth.admin.pullImage('NAME')],
  ['GET /api/admin/usage?user_id=u', (berth) => berth.admin.usage({ user_id: 'u' }).page()],
  ['GET /api/audit?all=true', (berth) => berth.admin.audit().page()],
  ['GET /api/audit?user_id=u', (berth) => berth.admin.audit({ user_id: 'u' }).page()],
  ['GET /api/admin/nodes', (berth) => berth.admin.nodes()],
  ['GET /api/admin/nodes/{name}/history', (berth) => berth.admin.nodeHistory('NAME')],
  ['POST /api/admin/nodes/{name}/drain', (berth) => berth.admin.drainNode('NAME')],
  ['POST /api/admin/nodes/{name}/drain {"move":true}', (berth) => berth.admin.drainNode('NAME', { move: true })],
  ['POST /api/admin/nodes/{name}/activate', (berth) => berth.admin.activateNode('NAME')],
  ['POST /api/admin/nodes/{name}/forget', (berth) => berth.admin.forgetNode('NAME')],
];

/** What a method asks for first, with the values of a path by their names. Nothing is answered. */
async function askedBy(call: (berth: Berth) => unknown): Promise<string> {
  let asked = '';
  const note = (address: string, { method = 'GET', body }: RequestInit = {}): Promise<Response> => {
    const { pathname, search } = new URL(address);
    const path = pathname
      .replace(
        /\/(ID|PID|SESSION|NAME|LINK|DELIVERY|EXECUTION)(?=\/|$)/g,
        (_, name: string) => `/{${name.toLowerCase()}}`,
      )
      .replace('/ports/3000', '/ports/{port}');
    asked ||= `${method} ${path}${search}${typeof body === 'string' ? ` ${body}` : ''}`;
    return Promise.reject(new Error('nobody answers'));
  };
  const berth = new Berth({ url: 'http://berth.test', retries: 0, fetch: note as typeof fetch });
  await expect(call(berth)).rejects.toMatchObject({ code: 'connection_failed' });
  return asked;
}

/** Without the query and the body. */
const routeOf = (asked: string): string => /^[A-Z]+ [^ ?]+/.exec(asked)?.[0] ?? '';

describe('the client', () => {
  it.each(METHODS)('must ask for %s', async (asked, call) => {
    expect(await askedBy(call)).toBe(asked);
  });

  it('must have a method for every route of the API, and none that it has not', () => {
    const routes = Object.entries(DOCUMENT.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const methods = new Set(METHODS.map(([asked]) => routeOf(asked)));
    expect([...methods, ...WITHOUT_METHOD].sort()).toEqual(routes.sort());
  });

  it('must send queries that their routes know', () => {
    for (const [asked] of METHODS) {
      const [method = '', rest = ''] = asked.split(' ');
      const { pathname, searchParams } = new URL(rest, 'http://berth.test');
      const operation = DOCUMENT.paths[decodeURI(pathname)]?.[method.toLowerCase()];
      const known = operation?.parameters?.filter((each) => each.in === 'query').map(({ name }) => name) ?? [];
      expect({ asked, known }).toMatchObject({ known: expect.arrayContaining([...searchParams.keys()]) as string[] });
    }
  });
});
