import { randomUUID } from 'node:crypto';
import { Purge } from '../../src/containers/operations/purge';
import { ApiClient, type NewContainer, SMALL, testImage } from '../support/clients/api-client';
import { EventRecorder } from '../support/clients/socket-client';
import { PreviewClient } from '../support/clients/preview-client';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';
import { PreviewApplication } from '../support/servers/preview-application';

type Body = Readonly<Record<string, unknown>>;

/** Route by route: authorization.e2e-spec.ts. */
describe('a token for one container', () => {
  const daemon = new FakeDaemon();
  const application = new PreviewApplication();
  let berth: Berth;
  let user: NewUser;
  let own: NewContainer;
  let other: NewContainer;
  let alone: ApiClient;
  let withForks: ApiClient;

  beforeAll(async () => {
    await application.start(daemon);
    const environment = { PREVIEW_PORT: '0', VOLUME_RETENTION: '0', VOLUME_COPY_IMAGE: testImage() };
    berth = await Berth.start({ engine: new FakeEngine(daemon), environment });
    user = await berth.user('enterprise');
    own = await user.api.running({ name: 'own' });
    other = await user.api.running({ name: 'other' });
    alone = await clientFor({ container: 'own' });
    withForks = await clientFor({ container: own.id, forks: true });
  });

  afterAll(async () => {
    await berth.stop();
    application.stop();
  });

  async function tokenFor(body: Body): Promise<Body> {
    const made = await user.api.call('POST', '/api/tokens', { name: 'agent', ...body });
    expect(made.status).toBe(201);
    return made.body;
  }
  async function clientFor(body: Body): Promise<ApiClient> {
    return new ApiClient(berth.url, String((await tokenFor(body))['token']));
  }
  const idsOf = ({ body }: { body: Body }, key = 'containers'): string[] =>
    (body[key] as { db_id?: string; id: string }[]).map(({ db_id, id }) => db_id ?? id).sort();

  it('is made for a name or any form of an id, and says so', async () => {
    for (const container of ['own', own.db_id, own.id, own.db_id.slice(0, 8)]) {
      expect(await tokenFor({ container })).toMatchObject({ container: { id: own.db_id, forks: false } });
    }
    const { body } = await user.api.call('GET', '/api/tokens');
    const listed = (body['tokens'] as Body[]).map(({ container }) => container);
    expect(listed).toContainEqual({ id: own.db_id, forks: true });
    expect(listed).toContainEqual(null);
    expect((await withForks.call('GET', '/api/me')).body).toMatchObject({ container: { id: own.db_id, forks: true } });
    expect((await user.api.call('GET', '/api/me')).body).toMatchObject({ container: null });
  });

  it.each([
    ['an unknown container', { container: randomUUID() }, 404, 'container_not_found'],
    ['forks without a container', { forks: true }, 400, 'invalid_parameters'],
    ['an empty name', { container: '' }, 400, 'invalid_parameters'],
  ])('is not made for %s', async (_what, body, status, code) => {
    const made = await user.api.call('POST', '/api/tokens', { name: 'agent', ...body });
    expect([made.status, made.body['code']]).toEqual([status, code]);
    const stranger = await berth.user();
    const stolen = await stranger.api.call('POST', '/api/tokens', { name: 'agent', container: own.db_id });
    expect([stolen.status, stolen.body['code']]).toEqual([403, 'not_authorized']);
  });

  it('lists only its container, no agents and no other snapshots', async () => {
    const agent = await user.api.call('POST', '/api/agents', { name: 'machine' });
    expect(agent.status).toBe(201);
    const snapshots = await Promise.all(
      [own, other].map(({ db_id: id }) => user.api.call('POST', `/api/containers/${id}/snapshots`, {})),
    );
    await Promise.all(snapshots.map(({ body }) => user.api.call('GET', `/api/snapshots/${String(body['id'])}/wait`)));
    expect(idsOf(await alone.call('GET', '/api/containers'))).toEqual([own.db_id]);
    expect(idsOf(await alone.call('GET', '/api/snapshots'), 'snapshots')).toEqual([snapshots[0]?.body['id']]);
    const sandboxes = await fetch(`${berth.url}/e2b/sandboxes`, { headers: { 'x-api-key': alone.token } });
    expect(((await sandboxes.json()) as Body[]).map(({ sandboxID }) => sandboxID)).toEqual([own.db_id]);
    const foreign = { snapshot: snapshots[1]?.body['id'] };
    const restored = await alone.call('POST', `/api/containers/${own.db_id}/restore-snapshot`, foreign);
    expect([restored.status, restored.body['code']]).toEqual([403, 'not_authorized']);
  });

  it('creates nothing, by the API, the tools of agents and the API of E2B', async () => {
    expect((await withForks.create()).body).toMatchObject({ code: 'insufficient_permissions' });
    expect((await withForks.call('POST', '/e2b/sandboxes', { templateID: 'base' })).status).toBe(403);
    expect(await toolOf(withForks, 'sandbox_create', { name: 'third' })).toContain('insufficient_permissions');
    const shown = await toolOf(alone, 'sandbox_list', {});
    expect(shown).toContain(own.db_id);
    expect(shown).not.toContain(other.db_id);
    const stop = { sandbox: 'other', action: 'stop' };
    expect(await toolOf(alone, 'sandbox_control', stop)).toContain('not_authorized');
  });

  it('forks its container, and forks of it, only if it was made so', async () => {
    const refused = await alone.call('POST', `/api/containers/${own.db_id}/fork`, {});
    expect([refused.status, refused.body['code']]).toEqual([403, 'insufficient_permissions']);
    const first = await forked(own.db_id);
    const second = await forked(first);
    expect(idsOf(await withForks.call('GET', '/api/containers'))).toEqual([own.db_id, first, second].sort());
    expect((await alone.get(first)).body).toMatchObject({ code: 'not_authorized' });
    expect((await withForks.get(other.db_id)).body).toMatchObject({ code: 'not_authorized' });
    expect((await withForks.delete(second)).status).toBe(200);
  });

  it('sees the events of its container alone, in pages, by a socket and as a stream', async () => {
    const { body: before } = await user.api.call('GET', '/api/containers');
    const after = Number(before['event_seq']);
    const recorders = [alone, withForks].map(({ token }) => new EventRecorder(berth.url, { token, after }));
    await Promise.all(recorders.map((recorder) => recorder.connected()));
    const stream = await fetch(`${berth.url}/api/events/stream?after=${String(after)}`, {
      headers: { authorization: `Bearer ${alone.token}` },
    });
    await user.api.call('PUT', `/api/containers/${other.db_id}/labels`, { labels: { a: '1' } });
    const fork = await forked(own.db_id);
    await user.api.call('PUT', `/api/containers/${fork}/labels`, { labels: { a: '1' } });
    await user.api.call('PUT', `/api/containers/${own.db_id}/labels`, { labels: { last: '1' } });
    await Promise.all(recorders.map((recorder) => recorder.next('container_updated', { db_id: own.db_id })));
    const seen = recorders.map(({ events }) => new Set(events.map(({ data }) => subject({ ...data }))));
    expect(seen).toEqual([new Set([own.db_id]), new Set([own.db_id, fork])]);
    const page = (await alone.call('GET', `/api/events?after=${String(after)}&limit=500`)).body;
    const events = page['events'] as { data: Body; type: string; seq: number }[];
    expect(new Set(events.map(({ data }) => subject(data)))).toEqual(new Set([own.db_id]));
    expect(page['next']).toBeGreaterThanOrEqual(events.at(-1)?.seq ?? Infinity);
    let text = '';
    for await (const chunk of stream.body ?? []) {
      text += Buffer.from(chunk as Uint8Array).toString();
      if (text.includes('"last"')) break;
    }
    expect(text).not.toContain(other.db_id);
    expect(text).not.toContain(`"db_id":"${fork}"`);
    for (const recorder of recorders) recorder.close();
  });

  it('opens the previews of its container alone', async () => {
    const { body } = await user.api.call('GET', `/api/containers/${own.db_id}/ports`);
    const base = (body['ports'] as [{ url: string }])[0].url;
    const headers = { 'berth-token': alone.token };
    expect((await new PreviewClient(base).call('/', { headers })).status).toBe(200);
    const foreign = new PreviewClient(base.replace(own.db_id, other.db_id));
    expect((await foreign.call('/', { headers })).status).toBe(403);
    const links = `/api/containers/${other.db_id}/ports/3000/links`;
    expect((await alone.call('POST', links, {})).body).toMatchObject({ code: 'not_authorized' });
  });

  it('ends when its container is deleted for good, and what it has open', async () => {
    const brief = await user.api.running();
    const { token } = await tokenFor({ container: brief.db_id });
    const recorder = await new EventRecorder(berth.url, { token: String(token) }).connected();
    await user.api.delete(brief.db_id);
    await berth.app.get(Purge).purge(brief.db_id);
    await eventually(() => expect(recorder.disconnects).not.toEqual([]));
    recorder.close();
    expect((await new ApiClient(berth.url, String(token)).call('GET', '/api/containers')).status).toBe(401);
  });

  async function forked(source: string): Promise<string> {
    const made = await withForks.call('POST', `/api/containers/${source}/fork`, {});
    expect(made.status).toBe(202);
    const id = String(made.body['db_id']);
    expect(await withForks.call('GET', `/api/containers/${id}/wait?status=running&timeout=60`)).toMatchObject({
      status: 200,
      body: { resources: SMALL },
    });
    return id;
  }
});

/** The answer of a tool, as text. */
async function toolOf({ url, token }: ApiClient, name: string, args: Body): Promise<string> {
  const answer = await fetch(`${url}/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } }),
  });
  return answer.text();
}

/** The container that an event is about, or whose snapshot it is about. */
function subject(data: Body): unknown {
  return data['db_id'] ?? data['container_id'];
}
