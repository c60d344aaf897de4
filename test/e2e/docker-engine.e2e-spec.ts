import { text } from 'node:stream/consumers';
import { DockerProxy } from '../support/faults/docker-proxy';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { eventually } from '../support/eventually';
import { isSimulated, itOnDocker } from '../support/docker/which-engine';

jest.setTimeout(120_000);

describe('DockerEngine on a real Docker', () => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.engine();

  beforeAll(() => engine.host.prepare(sandbox.instance));
  afterAll(() => sandbox.cleanUp());

  itOnDocker('must find gVisor and say whether disk quotas work', () => {
    expect(engine.host.capabilities.runtime).toBe('runsc');
    expect(['enforced', 'unsupported']).toContain(engine.host.capabilities.diskQuota);
  });

  itOnDocker('must prepare any number of times, in several processes at once', async () => {
    await Promise.all([1, 2, 3].map(() => sandbox.engine().host.prepare(sandbox.instance)));
    const networks = await sandbox.real.docker.listNetworks({ filters: { name: [`berth-${sandbox.instance}`] } });
    expect(networks).toHaveLength(1);
    expect(networks[0]?.Options).toMatchObject({ 'com.docker.network.bridge.enable_icc': 'false' });
  });

  it('must take a container through its whole life', async () => {
    const spec = sandbox.spec();
    const volume = { name: spec.volumeName, diskMb: spec.diskMb, owner: spec.owner };
    expect(await engine.volumes.ensure(volume)).toEqual({ existed: false });
    expect(await engine.volumes.ensure(volume)).toEqual({ existed: true });

    const engineId = await engine.containers.create(spec);
    expect(engineId).toMatch(/^[0-9a-f]{64}$/);
    expect(await engine.containers.inspect(engineId)).toMatchObject({
      engineId,
      name: spec.name,
      state: 'created',
      startedAt: null,
      exitCode: null,
      ipAddress: null,
      runtime: isSimulated ? 'simulated' : 'runsc',
    });

    expect(await engine.containers.start(engineId)).toBe('started');
    expect(await engine.containers.start(engineId)).toBe('already_running');
    const running = await engine.containers.inspect(engineId);
    expect(running).toMatchObject({ state: 'running', exitCode: null, oomKilled: false });
    expect(running?.ipAddress).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
    expect(await sandbox.exec(engineId, ['sh', '-c', 'pwd; echo $HOME'])).toBe('/home/user\n/home/user\n');
    await sandbox.exec(engineId, ['sh', '-c', 'echo kept >/home/user/mark']);

    expect(await engine.containers.stop(engineId, 10)).toBe('stopped');
    expect(await engine.containers.stop(engineId, 10)).toBe('already_stopped');
    // By SIGTERM, not by the SIGKILL at the end of its grace.
    expect(await engine.containers.inspect(engineId)).toMatchObject({ state: 'exited', exitCode: 0, ipAddress: null });

    await engine.containers.remove(engineId);
    await engine.containers.remove(engineId);
    expect(await engine.containers.inspect(engineId)).toBeNull();

    const next = await sandbox.running(engine, { ...spec, generation: 2 });
    expect(await sandbox.exec(next, ['cat', '/home/user/mark'])).toBe('kept\n');
    await engine.containers.remove(next);
    await engine.volumes.remove(spec.volumeName);
    await engine.volumes.remove(spec.volumeName);
    expect(await sandbox.hasVolume(spec.volumeName)).toBe(false);
  });

  itOnDocker('must label what it makes, and list what has its labels alone', async () => {
    const spec = sandbox.spec({ generation: 7 });
    const other = sandbox.spec({ owner: { ...spec.owner, instance: `${sandbox.instance}-other` } });
    const engineId = await sandbox.running(engine, spec);
    await engine.containers.create({ ...other, volumeName: spec.volumeName });
    try {
      const { Config } = await sandbox.real.inspect(engineId);
      expect(Config.Labels).toMatchObject({
        'berth.managed': 'true',
        'berth.instance': sandbox.instance,
        'berth.container_id': spec.owner.containerId,
        'berth.user_id': spec.owner.userId,
        'berth.generation': '7',
      });
      const { Labels } = await sandbox.real.docker.getVolume(spec.volumeName).inspect();
      expect(Labels).toMatchObject({
        'berth.instance': sandbox.instance,
        'berth.container_id': spec.owner.containerId,
      });
      const { containerId } = spec.owner;
      const [listed, ...rest] = (await engine.containers.list({ instance: sandbox.instance, containerId })).items;
      expect(rest).toEqual([]);
      expect(listed).toMatchObject({ engineId, name: spec.name, state: 'running', containerId, generation: 7 });
      expect(Math.abs(Date.now() - (listed?.createdAt.getTime() ?? 0))).toBeLessThan(60_000);
    } finally {
      await engine.containers.remove(engineId);
      await sandbox.real.removeInstance(other.owner.instance);
    }
  });

  itOnDocker('must take no label of an image for its own, of a sandbox or of what works on volumes', async () => {
    const { real, instance } = sandbox;
    const image = `claiming:${instance}`;
    const claimed = {
      'berth.managed': 'false',
      'berth.instance': `${instance}-other`,
      'berth.probe': instance,
      'berth.helper': 'firewall',
      'berth.generation': '9',
      'berth.network': 'allow',
      'berth.allow': '0.0.0.0/0',
      'berth.smoke-test': 'true',
      'berth.later': 'anything',
    };
    const changes = Object.entries(claimed).map(([name, value]) => `LABEL ${name}=${value}`);
    await real.makeImage(image, 'true', [...changes, 'LABEL other=kept'].join('\n'));
    const spec = sandbox.spec({ image, generation: 2 });
    const begun = Math.floor(Date.now() / 1000) - 1;
    try {
      const engineId = await sandbox.running(engine, spec);
      const { Labels } = (await real.inspect(engineId)).Config;
      const none = Object.fromEntries(Object.keys(claimed).map((name) => [name, '']));
      const own = { 'berth.managed': 'true', 'berth.instance': instance, 'berth.network': 'internet' };
      expect(Labels).toMatchObject({ ...none, ...own, 'berth.generation': '2', other: 'kept' });
      for (const label of [`berth.probe=${instance}`, 'berth.helper=firewall', `berth.instance=${instance}-other`]) {
        const found = await real.docker.listContainers({ all: true, filters: { label: [label] } });
        expect(found.map(({ Id }) => Id)).not.toContain(engineId);
      }
      await engine.volumes.measure({ name: spec.volumeName, image, owner: spec.owner }).catch(() => undefined);
      const filters = { event: ['create'], label: [`berth.container_id=${spec.owner.containerId}`] };
      const until = Math.ceil(Date.now() / 1000) + 1;
      const events = await text(await real.docker.getEvents({ since: begun, until, filters }));
      const made = events
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { Actor: { Attributes: Record<string, string> } }).Actor.Attributes);
      expect(made.map((labels) => labels['berth.generation'])).toEqual(['2', '']);
      expect(made[1]).toMatchObject({ ...none, 'berth.managed': 'true', 'berth.instance': instance });
    } finally {
      await real.removeInstance(instance);
      await engine.host.prepare(instance);
      await real.docker.getImage(image).remove({ force: true });
    }
  });

  itOnDocker('must label a volume that was gone and that Docker makes by itself', async () => {
    const spec = sandbox.spec();
    const engineId = await engine.containers.create(spec);
    const { Labels } = await sandbox.real.docker.getVolume(spec.volumeName).inspect();
    expect(Labels).toMatchObject({ 'berth.instance': sandbox.instance, 'berth.container_id': spec.owner.containerId });
    await engine.containers.remove(engineId);
  });

  it('must say what is gone, and succeed where gone is what was wanted', async () => {
    const gone = 'f'.repeat(64);
    expect(await engine.containers.inspect(gone)).toBeNull();
    await expect(engine.containers.start(gone)).rejects.toMatchObject({ code: 'container_not_found' });
    await expect(engine.containers.stop(gone, 1)).rejects.toMatchObject({ code: 'container_not_found' });
    await expect(engine.containers.pause(gone)).rejects.toMatchObject({ code: 'container_not_found' });
    await expect(engine.containers.unpause(gone)).rejects.toMatchObject({ code: 'container_not_found' });
    await engine.containers.rename(gone, 'berth-nobody');
    await engine.containers.remove(gone);
    await engine.volumes.remove('berth-no-such-volume');
  });

  it('must say that a name is in use, and rename to what is free', async () => {
    const spec = sandbox.spec();
    const [first, second] = [await engine.containers.create(spec), await engine.containers.create(sandbox.spec())];
    await expect(engine.containers.create(spec)).rejects.toMatchObject({ code: 'name_in_use' });
    await expect(engine.containers.rename(second, spec.name)).rejects.toMatchObject({ code: 'name_in_use' });
    await engine.containers.rename(first, spec.name);
    await engine.containers.rename(first, `${spec.name}-old`);
    expect(await engine.containers.inspect(first)).toMatchObject({ name: `${spec.name}-old` });
    await engine.containers.rename(second, spec.name);
    await Promise.all([first, second].map((engineId) => engine.containers.remove(engineId)));
  });

  it('must distinguish images that are here from those that are not', async () => {
    const here = sandbox.spec().image;
    expect(await engine.images.present([here, 'berth/no-such-image:1'])).toEqual(new Set([here]));
    await engine.images.ensure(here);
    const missing = sandbox.spec({ image: 'berth/no-such-image:1' });
    await expect(engine.containers.create(missing)).rejects.toMatchObject({ code: 'image_not_found' });
    await expect(engine.images.ensure('ubuntu:')).rejects.toMatchObject({ code: 'image_not_found' });
  });

  itOnDocker('must not ask a registry for an image that is built here, whether it is here or not', async () => {
    const proxy = await DockerProxy.open();
    const proxied = sandbox.engine({ DOCKER_HOST: proxy.dockerHost });
    try {
      proxy.arm(null);
      for (const missing of ['berth/no-such-image:1', 'docker.io/berth/no-such-image', 'Index.docker.io/berth/a:1']) {
        await expect(proxied.images.ensure(missing)).rejects.toMatchObject({
          code: 'image_not_built',
          message: expect.stringContaining('npm run images') as unknown,
        });
      }
      const here = sandbox.spec().image;
      const beforePull = jest.fn();
      expect(await proxied.images.ensure(here, { refresh: true, beforePull })).toEqual(await engine.images.find(here));
      expect(beforePull).not.toHaveBeenCalled();
      expect(proxy.calls.filter((call) => call.startsWith('POST'))).toEqual([]);
    } finally {
      await proxy.close();
    }
  });

  it('must pause a container, however often, and stop, start and remove one that is paused', async () => {
    const engineId = await sandbox.running(engine, sandbox.spec());
    const pause = (): Promise<void> => engine.containers.pause(engineId);
    await pause();
    await pause();
    expect(await engine.containers.inspect(engineId)).toMatchObject({ state: 'paused', exitCode: null });
    expect(await engine.containers.stats(engineId)).toMatchObject({ memory: { usedBytes: expect.any(Number) } });
    await expect(engine.containers.start(engineId)).rejects.toMatchObject({ code: 'container_paused' });
    await engine.containers.unpause(engineId);
    await engine.containers.unpause(engineId);
    expect(await engine.containers.inspect(engineId)).toMatchObject({ state: 'running' });
    await pause();
    expect(await engine.containers.stop(engineId, 10)).toBe('stopped');
    await expect(pause()).rejects.toMatchObject({ code: 'container_not_running' });
    expect(await engine.containers.start(engineId)).toBe('started');
    await sandbox.pause(engineId);
    await engine.containers.remove(engineId);
    expect(await engine.containers.inspect(engineId)).toBeNull();
  });

  itOnDocker(
    'must start a container whose network was removed and made again, without a start that Docker refuses',
    async () => {
      const proxy = await DockerProxy.open();
      const proxied = sandbox.engine({ DOCKER_HOST: proxy.dockerHost });
      await proxied.host.prepare(sandbox.instance);
      const engineId = await sandbox.running(engine, sandbox.spec());
      await engine.containers.stop(engineId, 1);
      await sandbox.real.docker.getNetwork(`berth-${sandbox.instance}`).remove();
      proxy.arm(null);
      expect(await proxied.containers.start(engineId)).toBe('started');
      // After one refused start, Docker 28 can never start it again.
      expect(proxy.calls.filter((call) => call.endsWith('/start'))).toHaveLength(1);
      expect((await engine.containers.inspect(engineId))?.ipAddress).toMatch(/^\d/);
      await engine.containers.remove(engineId);
      await proxy.close();
    },
  );

  itOnDocker('must start a new container whose network was removed, or say that it never will', async () => {
    await sandbox.real.docker.getNetwork(`berth-${sandbox.instance}`).remove();
    const spec = sandbox.spec();
    const start = (): Promise<string> => sandbox.running(engine, spec);
    const engineId = await start().catch(async (error: unknown) => {
      // Docker 28: its replacement finds the network that was made for it.
      expect(error).toMatchObject({ code: 'container_broken' });
      const { containerId } = spec.owner;
      const { items } = await engine.containers.list({ instance: sandbox.instance, containerId });
      for (const { engineId: broken } of items) await engine.containers.remove(broken);
      return start();
    });
    expect((await engine.containers.inspect(engineId))?.ipAddress).toMatch(/^\d/);
    await engine.containers.remove(engineId);
  });

  it('must remove a container once when several ask for it', async () => {
    const engineId = await sandbox.running(engine, sandbox.spec());
    await Promise.all([1, 2, 3].map(() => engine.containers.remove(engineId)));
    await eventually(async () => expect(await engine.containers.inspect(engineId)).toBeNull());
  });

  itOnDocker('must refuse what the runtime cannot do with a word that says so', async () => {
    const plain = sandbox.engine({ SANDBOX_RUNTIME: 'runc' });
    expect(await plain.host.prepare(sandbox.instance)).toMatchObject({ runtime: 'runc' });
    await expect(sandbox.engine({ DISK_QUOTA: 'off' }).host.prepare(sandbox.instance)).resolves.toMatchObject({
      diskQuota: 'off',
    });
    const required = sandbox.engine({ DISK_QUOTA: 'required' }).host.prepare(sandbox.instance);
    const answer = await required.then(({ diskQuota }) => diskQuota, String);
    // Which of the two depends on the file system under Docker.
    expect(answer).toMatch(engine.host.capabilities.diskQuota === 'enforced' ? /^enforced$/ : /ConfigError.*prjquota/);
  });
});
