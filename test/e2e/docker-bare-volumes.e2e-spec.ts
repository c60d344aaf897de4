import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerSpec, OwnerLabels } from '../../src/engine';
import { EngineSandbox } from '../support/docker/engine-sandbox';

jest.setTimeout(120_000);

/**
 * A dockerd that is killed while it makes a volume has made its folder and not yet written its labels and options:
 * after its start it has the volume without either, just as one that somebody made with nothing but a name.
 */
describe('a volume that Docker has without labels', () => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.engine();
  const { docker } = sandbox.real;

  beforeAll(() => engine.host.prepare(sandbox.instance));
  afterAll(() => sandbox.cleanUp());

  it('must be recreated where it holds nothing, and leave nothing else behind', async () => {
    const { volume, spec } = await bare();
    expect(await engine.volumes.ensure(volume)).toEqual({ existed: false });
    expect(await labelsOf(volume.name)).toMatchObject({ 'berth.container_id': spec.owner.containerId });
    expect(await engine.volumes.ensure(volume)).toEqual({ existed: true });
    expect((await engine.containers.list({ instance: sandbox.instance })).items).toEqual([]);
    expect(await docker.listImages({ filters: { reference: ['berth/empty'] } })).toEqual([]);
    await engine.volumes.remove(volume.name);
  });

  it.each(['', 'precious'])('must be kept where it holds a file (%j), and be found by its name', async (content) => {
    const { volume, spec } = await bare();
    const { Mountpoint } = await docker.getVolume(volume.name).inspect();
    await writeFile(join(Mountpoint, '.kept'), content);
    expect(await engine.volumes.ensure(volume)).toEqual({ existed: true });
    const { containerId } = spec.owner;
    const listed = { name: volume.name, containerId, labelled: false };
    expect(await engine.volumes.list({ instance: sandbox.instance, containerId })).toEqual({
      items: [listed],
      silent: [],
    });
    expect((await engine.volumes.list({ instance: sandbox.instance })).items).toContainEqual(listed);
    const engineId = await sandbox.running(engine, spec);
    expect(await sandbox.real.exec(engineId, ['ls', '-A', '/home/user'])).toBe('.kept\n');
    await engine.containers.remove(engineId);
    await engine.volumes.remove(volume.name);
  });

  it('must be kept where a container has it', async () => {
    const { volume, spec } = await bare();
    const engineId = await engine.containers.create(spec);
    expect(await engine.volumes.ensure(volume)).toEqual({ existed: true });
    await engine.containers.remove(engineId);
    await engine.volumes.remove(volume.name);
  });

  it('must not be taken for one of the same name that belongs to another container', async () => {
    const { volume, spec } = await bare();
    await engine.volumes.ensure(volume);
    const owner = { ...spec.owner, containerId: sandbox.spec().owner.containerId };
    await expect(engine.volumes.ensure({ ...volume, owner })).rejects.toMatchObject({ code: 'docker_error' });
    await engine.volumes.remove(volume.name);
  });

  async function bare(): Promise<{
    volume: { name: string; diskMb: number; owner: OwnerLabels };
    spec: ContainerSpec;
  }> {
    const spec = sandbox.spec();
    const volume = { name: spec.volumeName, diskMb: spec.diskMb, owner: spec.owner };
    await docker.createVolume({ Name: volume.name });
    return { volume, spec };
  }

  async function labelsOf(name: string): Promise<Record<string, string>> {
    return (await docker.getVolume(name).inspect()).Labels;
  }
});
