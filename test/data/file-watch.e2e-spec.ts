import { TokenService } from '../../src/auth';
import { EngineError, type FileChange } from '../../src/engine';
import type { NewContainer } from '../support/clients/api-client';
import { EventStreamClient } from '../support/clients/event-stream-client';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';

describe('watched directories', () => {
  const engine = new FakeEngine();
  const open: EventStreamClient[] = [];
  let berth: Berth;
  let user: NewUser;
  let container: NewContainer;

  beforeAll(async () => {
    berth = await Berth.start({ engine });
    user = await berth.user();
    container = await user.api.running();
  });
  afterEach(() => {
    jest.restoreAllMocks();
    for (const stream of open.splice(0)) stream.close();
  });
  afterAll(() => berth.stop());

  const inside = (path: string, { db_id } = container): string => `/api/containers/${db_id}/${path}`;
  const call = (method: string, path: string, body?: object) => user.api.call(method, inside(path), body);
  const write = (path: string) => call('PUT', `files?path=${path}`, {});
  const watch = async (query: string, { of = container, token = user.token } = {}): Promise<EventStreamClient> => {
    const path = inside(`files/watch?${query}`, of);
    const stream = await EventStreamClient.open({ url: berth.url, token, path });
    open.push(stream);
    return stream;
  };
  const seen = ({ told }: EventStreamClient): string[] =>
    told
      .filter(({ name }) => name === 'changes')
      .flatMap(({ data }) => (data as { changes: { type: string; path: string }[] }).changes)
      .map(({ type, path }) => `${type} ${path}`);
  const ends = ({ told }: EventStreamClient): unknown[] =>
    told.filter(({ name }) => name === 'end').map(({ data }) => data);

  it('sends each change in the directory, and with recursive those below it', async () => {
    await call('POST', 'files/mkdir', { path: '/home/user/w/below' });
    const [flat, deep] = [await watch('path=/home/user/w/'), await watch('path=/home/user/w&recursive=true')];
    expect([flat.status, deep.status]).toEqual([200, 200]);
    await write('/home/user/w/below/f');
    await write('/home/user/w/f');
    await write('/home/user/outside');
    await call('POST', 'files/move', { from: '/home/user/w/f', to: '/home/user/w/g' });
    await call('DELETE', 'files?path=/home/user/w/g');
    const own = ['create /home/user/w/f', 'write /home/user/w/f', 'rename /home/user/w/f', 'create /home/user/w/g'];
    await eventually(() => expect(seen(flat)).toContain('remove /home/user/w/g'));
    await eventually(() => expect(seen(deep)).toContain('remove /home/user/w/g'));
    expect(seen(flat).filter((each) => !each.startsWith('chmod'))).toEqual([...own, 'remove /home/user/w/g']);
    expect(seen(deep).slice(0, 2)).toEqual(['create /home/user/w/below/f', 'write /home/user/w/below/f']);
  });

  it('ends with the directory, with the container and with the token', async () => {
    const other = await user.api.running();
    const { text, token } = await berth.app
      .get(TokenService)
      .issue({ userId: user.id, name: 'another', scopes: ['exec'], expiresAt: null });
    await call('POST', 'files/mkdir', { path: '/home/user/gone' });
    const [removed, stopped, revoked] = [
      await watch('path=/home/user/gone'),
      await watch('path=/tmp', { of: other }),
      await watch('path=/tmp', { token: text }),
    ];
    await call('DELETE', 'files?path=/home/user/gone');
    await user.api.stop(other.db_id);
    expect((await user.api.call('DELETE', `/api/tokens/${token.id}`)).status).toBe(200);
    await eventually(() => expect(ends(removed)).toEqual([{ reason: 'directory_removed' }]));
    await eventually(() => expect(ends(stopped)).toMatchObject([{ reason: 'container_stopped' }]));
    await eventually(() => expect(ends(revoked)).toEqual([{ reason: 'token_ended' }]));
    for (const stream of [removed, stopped, revoked]) await eventually(() => expect(stream.ending).toBe('complete'));
  });

  it.each<[string, string, number, object]>([
    ['no path', '', 400, { code: 'invalid_parameters', details: [{ field: 'path' }] }],
    ['a relative path', 'path=tmp', 400, { code: 'invalid_parameters', details: [{ field: 'path' }] }],
    [
      'another recursive',
      'path=/tmp&recursive=1',
      400,
      { code: 'invalid_parameters', details: [{ field: 'recursive' }] },
    ],
    ['a missing directory', 'path=/none', 404, { code: 'path_not_found' }],
    ['a file', 'path=/etc/passwd', 409, { code: 'path_not_directory' }],
  ])('refuses %s', async (_what, query, status, body) => {
    expect(await call('GET', `files/watch?${query}`)).toMatchObject({ status, body });
  });

  it('ends the watch in the container when its client leaves, or asked for the head alone', async () => {
    const watching = jest.spyOn(engine.files, 'watch');
    const signalOf = (index: number) => watching.mock.calls[index]?.[0].signal;
    const stream = await watch('path=/tmp');
    expect(signalOf(0)?.aborted).toBe(false);
    stream.close();
    await eventually(() => expect(signalOf(0)?.aborted).toBe(true));
    expect((await call('HEAD', 'files/watch?path=/tmp')).status).toBe(200);
    await eventually(() => expect(signalOf(1)?.aborted).toBe(true));
  });

  it('says that there are too many watches, or directories below one', async () => {
    const tooMany = new EngineError('too_many', 'too many watched directories');
    jest.spyOn(engine.files, 'watch').mockRejectedValueOnce(tooMany).mockResolvedValueOnce(failing(tooMany));
    expect(await call('GET', 'files/watch?path=/tmp')).toMatchObject({
      status: 429,
      body: { code: 'too_many_watches', limit: 16, directories: 4096 },
    });
    const stream = await watch('path=/tmp&recursive=true');
    await eventually(() => expect(ends(stream)).toEqual([{ reason: 'too_many_watches' }]));
    expect(stream.told[0]?.data).toEqual({ changes: [{ type: 'overflow', path: '/tmp' }] });
  });

  it('names a path that is not UTF-8 by its bytes, too', async () => {
    const change: FileChange = { type: 'write', path: Buffer.from('caf\xe9', 'latin1') };
    const lost = new EngineError('container_not_responding', 'it broke the protocol');
    jest.spyOn(engine.files, 'watch').mockResolvedValueOnce(failing(lost, change));
    const stream = await watch('path=/tmp');
    await eventually(() => expect(ends(stream)).toEqual([{ reason: 'watch_failed' }]));
    expect(stream.told[0]?.data).toEqual({
      changes: [{ type: 'write', path: '/tmp/caf\ufffd', path_encoded: '/tmp/caf%E9' }],
    });
  });
});

async function* failing(
  error: Error,
  change: FileChange = { type: 'overflow', path: Buffer.alloc(0) },
): AsyncGenerator<readonly FileChange[]> {
  yield [change];
  await Promise.resolve();
  throw error;
}
