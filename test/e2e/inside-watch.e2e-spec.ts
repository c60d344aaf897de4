import type { NewContainer } from '../support/clients/api-client';
import { EventStreamClient } from '../support/clients/event-stream-client';
import { RealDocker } from '../support/docker/real-docker';
import { eventually } from '../support/eventually';
import { Berth, type TestUser } from '../support/servers/berth';

jest.setTimeout(120_000);

interface Change {
  readonly type: string;
  readonly path: string;
  readonly path_encoded?: string;
}

describe('watched directories in a gVisor container', () => {
  const real = new RealDocker();
  const instance = `test-watch-${String(process.pid)}`;
  const open: EventStreamClient[] = [];
  let berth: Berth;
  let user: TestUser;
  let container: NewContainer;

  beforeAll(async () => {
    berth = await Berth.start({ environment: { INSTANCE_ID: instance } });
    user = await berth.user('pro', ['read', 'write', 'exec']);
    container = await user.api.running();
  });

  afterAll(async () => {
    for (const stream of open) stream.close();
    await berth.stop();
    await real.removeInstance(instance);
  });

  const sh = (script: string): Promise<string> => real.exec(container.id, ['sh', '-c', script]);
  const watch = async (query: string): Promise<EventStreamClient> => {
    const path = `/api/containers/${container.db_id}/files/watch?${query}`;
    const stream = await EventStreamClient.open({ url: berth.url, token: user.token, path });
    open.push(stream);
    expect(stream.status).toBe(200);
    return stream;
  };
  const changes = ({ told }: EventStreamClient): Change[] =>
    told.filter(({ name }) => name === 'changes').flatMap(({ data }) => (data as { changes: Change[] }).changes);
  const seen = (stream: EventStreamClient): string[] => changes(stream).map(({ type, path }) => `${type} ${path}`);
  const sees = (stream: EventStreamClient, ...lines: readonly string[]): Promise<void> =>
    eventually(() => expect(seen(stream)).toEqual(expect.arrayContaining([...lines])), { timeoutMs: 30_000 });

  it('tell each kind of change, below /home/user and elsewhere', async () => {
    for (const top of ['/home/user/w', '/tmp/w']) {
      await sh(`mkdir -p ${top}/below; mkdir -p /tmp/outside; ln -s /tmp/outside ${top}/link`);
      const stream = await watch(`path=${top}`);
      await sh(`cd ${top}; echo x > f; chmod 600 f; mv f g; rm g; touch below/unseen link/unseen`);
      const lines = ['create', 'write', 'chmod', 'rename'].map((type) => `${type} ${top}/f`);
      await sees(stream, ...lines, `create ${top}/g`, `remove ${top}/g`);
      const upload = await fetch(`${berth.url}/api/containers/${container.db_id}/files?path=${top}/up`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${user.token}` },
        body: 'x',
      });
      expect(upload.status).toBe(201);
      await sees(stream, `create ${top}/up`, `write ${top}/up`);
      expect(seen(stream).filter((line) => /unseen|berth-upload/.test(line))).toEqual([]);
    }
  });

  it('tell what happens in directories that come, are moved and go', async () => {
    await sh('mkdir -p /home/user/r /tmp/away');
    const stream = await watch('path=/home/user/r&recursive=true');
    await sh("cd /home/user/r; mkdir -p a/b; echo x > a/b/f; mkdir $(printf 'caf\\351')");
    await sees(stream, 'create /home/user/r/a', 'create /home/user/r/a/b', 'create /home/user/r/a/b/f');
    await sh('mv /home/user/r/a /home/user/r/n');
    await sees(stream, 'rename /home/user/r/a', 'create /home/user/r/n');
    await sh('echo x > /home/user/r/n/b/late');
    await sees(stream, 'create /home/user/r/n/b/late');
    await sh('rm -r /home/user/r/n; mkdir /home/user/r/end');
    await sees(stream, 'remove /home/user/r/n/b/late', 'remove /home/user/r/n/b', 'remove /home/user/r/n');
    expect(changes(stream)).toContainEqual({
      type: 'create',
      path: '/home/user/r/caf\ufffd',
      path_encoded: '/home/user/r/caf%E9',
    });
  });

  it('end with the directory, if it is deleted or moved away, and with the container', async () => {
    await sh('mkdir /home/user/gone /tmp/moved');
    const [gone, moved, stopped] = [
      await watch('path=/home/user/gone'),
      await watch('path=/tmp/moved&recursive=true'),
      await watch('path=/'),
    ];
    await sh('rmdir /home/user/gone; mv /tmp/moved /tmp/elsewhere');
    const ends = (stream: EventStreamClient, end: object): Promise<void> =>
      eventually(() => expect(stream.told.at(-1)).toMatchObject({ name: 'end', data: end }));
    await ends(gone, { reason: 'directory_removed' });
    await ends(moved, { reason: 'directory_removed' });
    await user.api.stop(container.db_id);
    await ends(stopped, { reason: 'container_stopped' });
  });
});
