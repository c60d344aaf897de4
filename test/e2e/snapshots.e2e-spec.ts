import { SMALL } from '../support/clients/api-client';
import { eventually } from '../support/eventually';
import { inBoth, IS_MORE, onlyQuick as it } from '../support/extent';
import { Berth, type NewUser } from '../support/servers/berth';

jest.setTimeout(300_000);

const MIB = 2 ** 20;
/** The data of a container that is forked, and how many forks. */
const FORKED = IS_MORE ? { mib: 200, count: 10 } : { mib: 5, count: 2 };

describe('snapshots on a real Docker', () => {
  let berth: Berth;
  let user: NewUser;
  let id: string;

  const run = async (of: string, script: string): Promise<string> => {
    const answer = await user.api.call('POST', `/api/containers/${of}/exec`, { command: ['sh', '-c', script] });
    expect(answer).toMatchObject({ status: 200, body: { exit_code: 0 } });
    return String(answer.body['stdout']).trim();
  };
  const ready = async (of: unknown): Promise<string> => {
    const waited = await user.api.call('GET', `/api/snapshots/${String(of)}/wait?timeout=60`);
    expect(waited).toMatchObject({ status: 200, body: { root: true } });
    return String(of);
  };
  const runs = async (of: unknown): Promise<string> => {
    const waited = await user.api.call('GET', `/api/containers/${String(of)}/wait?status=running&timeout=120`);
    expect(waited.status).toBe(200);
    return String(of);
  };
  const layersLeft = async (): Promise<string[]> => {
    const filters = { label: [`berth.layer=${berth.instance}`] };
    const images = await berth.docker.docker.listImages({ filters });
    return images.flatMap(({ RepoTags, Id }) => RepoTags ?? [Id]);
  };

  beforeAll(async () => {
    const image = process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest';
    berth = await Berth.start({ subject: 'snapshots', environment: { VOLUME_COPY_IMAGE: image } });
    user = await berth.user('enterprise', ['read', 'write', 'exec']);
    id = (await user.api.running({ env: { GIVEN: 'yes' } })).db_id;
    await run(
      id,
      `head -c ${String(FORKED.mib * MIB)} /dev/urandom >big; mkdir /opt; echo tool >/opt/tool; rm /etc/group`,
    );
  });

  afterAll(() => berth.stop());

  inBoth('must fork a container into equal ones that share nothing', async () => {
    await run(id, 'chown 1234:1234 /home/user');
    const sums = 'sha256sum big /opt/tool; echo $GIVEN; stat -c %u:%g:%a /home/user';
    const original = await run(id, sums);
    const forked = await user.api.call('POST', `/api/containers/${id}/fork`, { count: FORKED.count });
    const copies = (forked.body['containers'] as { db_id: string }[]).map(({ db_id }) => db_id);
    for (const copy of copies) expect(await run(await runs(copy), sums)).toBe(original);
    for (const copy of copies) await run(copy, `echo ${copy} >/opt/tool; echo ${copy} >big`);
    for (const copy of copies) expect(await run(copy, 'cat /opt/tool big')).toBe(`${copy}\n${copy}`);
    expect(await run(id, sums)).toBe(original);
    const volumes = (): Promise<string[]> => berth.docker.volumes(`berth.instance=${berth.instance}`);
    await eventually(async () =>
      expect((await volumes()).filter((name) => name.startsWith('berth-snapshot-'))).toEqual([]),
    );
  });

  /** Of the original, and a container from it. */
  let snapshot: string;
  let copy: string;

  it('must suspend a running container for a moment, and be a start for others', async () => {
    await run(
      id,
      'i=0; until [ -e /tmp/enough ]; do i=$((i+1)); echo $i >/home/user/count; sleep 0.05; done >/dev/null 2>&1 &',
    );
    const made = await user.api.call('POST', `/api/containers/${id}/snapshots`, { name: 'first' });
    expect(made.status).toBe(202);
    snapshot = await ready(made.body['id']);
    const { body } = await user.api.call('GET', `/api/snapshots/${snapshot}`);
    expect(body['bytes']).toBeGreaterThan(FORKED.mib * MIB);
    expect(body['downtime_ms']).toBeGreaterThan(0);
    // What ran goes on.
    const before = Number(await run(id, 'cat count'));
    await eventually(async () => expect(Number(await run(id, 'cat count'))).toBeGreaterThan(before));
    await run(id, ': >/tmp/enough');

    const creation = await user.api.call('POST', '/api/containers', { ...SMALL, snapshot });
    copy = await runs(creation.body['db_id']);
    const sums = 'sha256sum big /opt/tool; [ -e /etc/group ] || echo gone; id -u; cat /etc/resolv.conf';
    expect(await run(copy, sums)).toBe(await run(id, sums));
    expect(await run(copy, 'echo ${GIVEN-none} ${BERTH_SESSION:+marked}')).toBe('none marked');
    await run(copy, 'echo other >/opt/tool; echo other >big');
    expect(await run(id, 'cat /opt/tool')).toBe('tool');
  });

  it('must keep packages across a resize, and return to a snapshot, which is then deleted', async () => {
    const before = (await user.api.get(id)).body['id'];
    const resized = await user.api.patch(id, { memory_mb: 512 });
    expect(resized).toMatchObject({ status: 200, body: { restarted: true, root_kept: true } });
    expect(await run(id, 'cat /opt/tool; [ -e /etc/group ] || echo gone')).toBe('tool\ngone');
    expect((await user.api.get(String(before))).body).toMatchObject({ db_id: id });
    await run(id, 'rm /opt/tool big; echo new >/opt/new');
    const restored = await user.api.call('POST', `/api/containers/${id}/restore-snapshot`, { snapshot });
    expect(restored).toMatchObject({ status: 200, body: { status: 'running', db_id: id } });
    expect(await run(id, 'cat /opt/tool; ls /opt; [ -e big ] && echo big')).toBe('tool\ntool\nbig');
    expect(await layersLeft()).toContain(`berth/layer:${String(restored.body['kept'])}`);

    // The image goes with the last container from it, the volume at once.
    await user.api.call('DELETE', `/api/snapshots/${snapshot}`);
    await eventually(async () => expect(await berth.docker.volumeExists(`berth-snapshot-${snapshot}`)).toBe(false));
    await user.api.stop(copy);
    await user.api.start(copy);
    expect(await run(copy, 'cat /opt/tool')).toBe('other');
  });

  it('must fork an empty home', async () => {
    await run(id, 'rm -r /home/user/*; chmod 750 /home/user');
    const forked = await user.api.call('POST', `/api/containers/${id}/fork`, {});
    expect(await run(await runs(forked.body['db_id']), 'ls -A; stat -c %a .')).toBe('750');
  });
});
