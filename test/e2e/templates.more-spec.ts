import { SMALL } from '../support/clients/api-client';
import { eventually } from '../support/eventually';
import { Berth, type NewUser } from '../support/servers/berth';

jest.setTimeout(600_000);

/** How many containers are created one after the other. */
const CREATIONS = 4;

describe('templates on a real Docker', () => {
  let berth: Berth;
  let admin: NewUser;
  let user: NewUser;

  const run = async (of: string, script: string, by = user): Promise<string> => {
    const answer = await by.api.call('POST', `/api/containers/${of}/exec`, { command: ['sh', '-c', script] });
    expect(answer).toMatchObject({ status: 200, body: { exit_code: 0 } });
    return String(answer.body['stdout']).trim();
  };
  const put = (body: object): ReturnType<typeof admin.api.call> =>
    admin.api.call('PUT', '/api/admin/templates/tools', { version: '1', ...body });
  /** Creates a container from the template and waits until it runs. @returns its database id */
  const created = async (): Promise<string> => {
    const answer = await user.api.call('POST', '/api/containers', { image: 'tools', ...SMALL });
    expect(answer).toMatchObject({ status: 202, body: { template: { name: 'tools' } } });
    const id = String(answer.body['db_id']);
    const waited = await user.api.call('GET', `/api/containers/${id}/wait?status=running&timeout=120`);
    expect(waited).toMatchObject({ status: 200 });
    return id;
  };
  /** The images and volumes of snapshots and templates of this instance. */
  const kept = async (): Promise<string[]> => {
    const filters = { label: [`berth.layer=${berth.instance}`] };
    const layers = await berth.docker.docker.listImages({ filters });
    const volumes = await berth.docker.volumes(`berth.instance=${berth.instance}`);
    return [
      ...layers.flatMap(({ RepoTags, Id }) => (RepoTags?.length ? RepoTags : [Id])),
      ...volumes.filter((name) => name.startsWith('berth-snapshot-')),
    ];
  };

  beforeAll(async () => {
    const image = process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest';
    berth = await Berth.start({ subject: 'templates', environment: { VOLUME_COPY_IMAGE: image } });
    admin = await berth.user('enterprise', ['read', 'write', 'exec', 'admin']);
    user = await berth.user('pro', ['read', 'write', 'exec']);
  });

  afterAll(() => berth.stop());

  it('must outlive their snapshot, add no image with their containers, and leave nothing', async () => {
    const { db_id: origin } = await admin.api.running();
    await run(origin, 'mkdir -p /opt; echo tool >/opt/tool; echo mine >/home/user/file', admin);
    const made = await admin.api.call('POST', `/api/containers/${origin}/snapshots`, {});
    const snapshot = String(made.body['id']);
    const waited = await admin.api.call('GET', `/api/snapshots/${snapshot}/wait?timeout=60`);
    expect(waited).toMatchObject({ status: 200, body: { root: true } });
    expect(await put({ snapshot, data: true })).toMatchObject({ status: 201 });
    await admin.api.call('DELETE', `/api/snapshots/${snapshot}`);
    await admin.api.delete(origin);
    await eventually(async () => expect((await kept()).filter((name) => name.includes(snapshot))).toEqual([]));
    expect(await kept()).toHaveLength(2);

    const before = await kept();
    for (let count = 1; count <= CREATIONS; count += 1) {
      const copy = await created();
      expect(await run(copy, 'cat /opt/tool /home/user/file; echo other >/opt/tool; echo other >/home/user/file')).toBe(
        'tool\nmine',
      );
      if (count < CREATIONS) await user.api.delete(copy);
    }
    expect(await kept()).toEqual(before);

    // The last container goes on without the template, and keeps the image alone.
    const [last] = (await user.api.call('GET', '/api/containers')).body['containers'] as { db_id: string }[];
    expect(await admin.api.call('DELETE', '/api/admin/templates/tools')).toMatchObject({ status: 200 });
    await eventually(async () => expect(await kept()).toEqual([expect.stringMatching(/^berth\/layer:/)]));
    await user.api.stop(String(last?.db_id));
    await user.api.start(String(last?.db_id));
    expect(await run(String(last?.db_id), 'cat /opt/tool')).toBe('other');
    await user.api.delete(String(last?.db_id));
  });

  it('must be made of an image that Docker has under a name', async () => {
    const name = `template-test:${berth.instance}`;
    await berth.docker.makeImage(name, 'true', 'ENV MADE=here');
    try {
      expect(await put({ image: 'no-such-image:1' })).toMatchObject({ status: 400 });
      expect(await put({ image: name })).toMatchObject({ status: 201 });
      expect(await run(await created(), 'echo $MADE')).toBe('here');
    } finally {
      await admin.api.call('DELETE', '/api/admin/templates/tools');
      for (const { db_id } of (await user.api.call('GET', '/api/containers')).body['containers'] as { db_id: string }[])
        await user.api.delete(db_id);
      await berth.docker.docker.getImage(name).remove({ force: true });
    }
  });
});
