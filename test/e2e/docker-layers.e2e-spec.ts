import { randomUUID } from 'node:crypto';
import { pack } from 'tar-stream';
import { snapshotImage } from '../../src/engine';
import { EngineSandbox, TEST_IMAGE } from '../support/docker/engine-sandbox';

jest.setTimeout(180_000);

/** Docker's own limit is 125. */
const DEEP = 101;

describe('writable layers on a real Docker', () => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.dockerEngine();
  const { docker } = sandbox.real;
  const references: string[] = [];

  const newReference = (): string => {
    const reference = snapshotImage(randomUUID());
    references.push(reference);
    return reference;
  };
  const shell = (engineId: string, script: string): Promise<string> => sandbox.exec(engineId, ['sh', '-c', script]);
  /** Runs a container of an image. @returns its Docker id */
  const copyOf = (image: string): Promise<string> => sandbox.running(engine, sandbox.spec({ image }));

  beforeAll(() => engine.host.prepare(sandbox.instance));
  afterAll(async () => {
    await sandbox.cleanUp();
    for (const reference of references)
      await docker
        .getImage(reference)
        .remove()
        .catch(() => undefined);
  });

  it('must not be proved by a container that has written nothing so far', async () => {
    const { id } = await docker.createContainer({ Image: TEST_IMAGE });
    try {
      expect(await engine.layers.persist({ name: TEST_IMAGE, written: id })).toBe(false);
    } finally {
      await docker.getContainer(id).remove();
    }
  });

  it("must prove that this machine's gVisor leaves them on the host's file system, and leave nothing", async () => {
    expect(await engine.layers.persist({ name: TEST_IMAGE })).toBe(true);
    const probes = await docker.listContainers({ all: true, filters: { label: [`berth.probe=${sandbox.instance}`] } });
    expect(probes).toEqual([]);
  });

  it('must tell whether anything was written outside the volume', async () => {
    const engineId = await copyOf(TEST_IMAGE);
    await shell(engineId, 'echo data >/home/user/data');
    expect(await engine.layers.measure(engineId)).toMatchObject({ isWritten: false });
    await shell(engineId, 'head -c 1000000 /dev/zero | tr "\\0" x >/etc/more');
    const written = await engine.layers.measure(engineId);
    expect(written?.isWritten).toBe(true);
    expect(written?.bytes).toBeGreaterThanOrEqual(1_000_000);
    // A stop writes the name servers of the next start.
    await engine.containers.stop(engineId, 10);
    expect(await engine.layers.measure(engineId)).toMatchObject({ isWritten: true });
  });

  it('must find nothing written in a container that was never started', async () => {
    const engineId = await engine.containers.create(sandbox.spec());
    expect(await engine.layers.measure(engineId)).toMatchObject({ isWritten: false });
  });

  it('must commit a paused container completely, and run copies of it like any sandbox', async () => {
    const engineId = await copyOf(TEST_IMAGE);
    const sum = await shell(engineId, 'head -c 20000000 /dev/urandom >/opt && rm /etc/group && sha256sum /opt');
    const reference = newReference();
    await expect(engine.layers.commit({ engineId, reference, mostBytes: Infinity })).rejects.toMatchObject({
      code: 'container_not_running',
    });
    await engine.containers.pause(engineId);
    const layer = await engine.layers.commit({ engineId, reference, mostBytes: Infinity });
    await engine.containers.unpause(engineId);
    expect(layer.bytes).toBeGreaterThanOrEqual(20_000_000);
    expect(layer.bytes).toBeLessThan(21_000_000);
    expect(await engine.images.find(reference)).toMatchObject({ id: layer.imageId });

    const { Config } = await docker.getImage(reference).inspect();
    const base = await docker.getImage(TEST_IMAGE).inspect();
    expect(Config.Env).toEqual(expect.arrayContaining(['PATH=/bin', 'HOME=', 'BERTH_SESSION=']));
    expect(Config).toMatchObject({ User: '0', Cmd: base.Config.Cmd, WorkingDir: '/' });
    const labels = Object.entries(Config.Labels as Record<string, string>).filter(([, value]) => value !== '');
    expect(labels).toEqual([['berth.layer', sandbox.instance]]);

    const copy = await copyOf(reference);
    expect(await shell(copy, 'sha256sum /opt; [ -e /etc/group ] || echo none')).toBe(`${sum}none\n`);
    await shell(copy, 'echo changed >/opt');
    expect(await shell(engineId, 'sha256sum /opt')).toBe(sum);
    expect(await sandbox.real.containers(`berth.instance=${sandbox.instance}`)).toContainEqual(
      expect.objectContaining({ id: copy, state: 'running' }),
    );
    expect(await engine.layers.list({ instance: sandbox.instance })).toEqual({
      items: [expect.objectContaining({ reference, imageId: layer.imageId })],
      silent: [],
    });
    expect(await engine.layers.list({ instance: 'another' })).toEqual({ items: [], silent: [] });
  });

  it('refuses a layer whose files are too large, with their holes, and writes none of it', async () => {
    const engineId = await copyOf(TEST_IMAGE);
    await shell(engineId, 'truncate -s 100T /opt 2>/dev/null || dd of=/opt bs=1 count=0 seek=5G 2>/dev/null');
    await engine.containers.pause(engineId);
    const reference = newReference();
    await expect(engine.layers.commit({ engineId, reference, mostBytes: 2 ** 30 })).rejects.toMatchObject({
      code: 'data_too_large',
    });
    expect(await engine.images.find(reference)).toBeNull();
    await engine.containers.unpause(engineId);
  });

  it("must run commands of a copy as the image's own user, and ask the name servers of now", async () => {
    const image = `berth/test-user:${randomUUID()}`;
    references.push(image);
    await sandbox.real.makeImage(image, 'true', 'USER 1000');
    const first = sandbox.dockerEngine({ SANDBOX_DNS: ['192.0.2.1'] });
    await first.host.prepare(sandbox.instance);
    const engineId = await sandbox.running(first, sandbox.spec({ image }));
    // Another name server is brought to a stopped container in a file of its layer.
    const second = sandbox.dockerEngine({ SANDBOX_DNS: ['192.0.2.2'] });
    await second.host.prepare(sandbox.instance);
    await second.containers.stop(engineId, 10);
    await second.containers.start(engineId);
    await second.containers.stop(engineId, 10);
    const reference = newReference();
    await second.layers.commit({ engineId, reference, mostBytes: Infinity });
    const third = sandbox.dockerEngine({ SANDBOX_DNS: ['192.0.2.3'] });
    await third.host.prepare(sandbox.instance);
    const copy = await sandbox.running(third, sandbox.spec({ image: reference }));
    const said: Buffer[] = [];
    await third.programs.run(copy, {
      command: ['sh', '-c', 'id -u; cat /etc/resolv.conf; touch /home/user/mine && echo written'],
      timeoutMs: 30_000,
      maxOutputBytes: 10_000,
      onOutput: ({ data }) => void said.push(data),
    });
    expect(Buffer.concat(said).toString()).toBe('1000\nnameserver 192.0.2.3\nwritten\n');
  });

  it('must have further names, each of which can be removed while a container needs the image', async () => {
    const engineId = await copyOf(TEST_IMAGE);
    await shell(engineId, 'echo more >/etc/more');
    await engine.containers.pause(engineId);
    const [first, second] = [newReference(), newReference()];
    const { imageId: id } = await engine.layers.commit({ engineId, reference: first, mostBytes: Infinity });
    await engine.containers.unpause(engineId);
    await engine.images.tag({ id, reference: second });
    const copy = await copyOf(second);
    expect(await shell(copy, 'cat /etc/more')).toBe('more\n');
    expect(await engine.images.remove({ reference: first, id })).toBe('removed');
    expect(await engine.images.find(first)).toBeNull();
    expect(await engine.images.find(second)).toMatchObject({ id });
    expect(await engine.images.remove({ reference: second, id })).toBe('in_use');
    const missing = `sha256:${'0'.repeat(64)}`;
    await expect(engine.images.tag({ id: missing, reference: first })).rejects.toMatchObject({
      code: 'image_not_found',
    });
  });

  it("must flatten an image before Docker's limit of layers, and keep its files and configuration", async () => {
    const reference = newReference();
    await deepImage(reference);
    const before = await docker.getImage(reference).inspect();
    expect(before.RootFS.Layers).toHaveLength(DEEP);
    const flat = await engine.layers.flatten({ reference });
    const after = await docker.getImage(reference).inspect();
    expect(after.Id).toBe(flat?.imageId);
    expect(after.RootFS.Layers).toHaveLength(1);
    for (const key of ['Env', 'User', 'WorkingDir', 'Cmd'] as const)
      expect(after.Config[key]).toEqual(before.Config[key]);
    expect(after.Config.Labels).toMatchObject({ 'berth.layer': sandbox.instance, 'berth.probe': '' });
    const copy = await copyOf(reference);
    expect(await shell(copy, 'cat /n')).toBe(`${String(DEEP - 1)}\n`);
    expect(await engine.layers.flatten({ reference })).toBeNull();
    // Nothing is left of the deep image.
    const left = await docker.listImages({
      filters: { label: [`berth.layer=${sandbox.instance}`], dangling: ['true'] },
    });
    expect(left).toEqual([]);
  });

  it('must name what is missing', async () => {
    const missing = 'f'.repeat(64);
    await expect(engine.layers.measure(missing)).rejects.toMatchObject({ code: 'container_not_found' });
    await expect(
      engine.layers.commit({ engineId: missing, reference: newReference(), mostBytes: Infinity }),
    ).rejects.toMatchObject({
      code: 'container_not_found',
    });
    await expect(engine.layers.flatten({ reference: newReference() })).rejects.toMatchObject({
      code: 'image_not_found',
    });
  });

  /** Builds an image of many layers. */
  async function deepImage(reference: string): Promise<void> {
    const files = Array.from({ length: DEEP - 1 }, (_each, index) => String(index + 1));
    const context = pack();
    for (const file of files) context.entry({ name: file }, `${file}\n`);
    const lines = [`FROM ${TEST_IMAGE}`, ...files.map((file) => `COPY ${file} /n`)];
    context.entry({ name: 'Dockerfile' }, `${lines.join('\n')}\nLABEL berth.layer=${sandbox.instance}\n`);
    context.finalize();
    const building = await docker.buildImage(context, { t: reference });
    await new Promise<void>((resolve, reject) =>
      docker.modem.followProgress(building, (error) => (error ? reject(error) : resolve())),
    );
  }
});
