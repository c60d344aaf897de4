import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SupervisorVolume } from '../../src/docker/supervisor/supervisor-volume';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { ownSupervisorFile } from '../support/docker/supervisor-file';

jest.setTimeout(120_000);

describe('the volume with the supervisor', () => {
  const sandbox = new EngineSandbox();
  const { real } = sandbox;
  const folder = mkdtempSync(join(tmpdir(), 'berth-supervisor-'));
  const made: string[] = [];

  afterAll(async () => {
    for (const name of made) {
      await real.docker
        .getContainer(name)
        .remove({ force: true })
        .catch(() => undefined);
      await real.docker
        .getVolume(name)
        .remove()
        .catch(() => undefined);
    }
    rmSync(folder, { recursive: true });
    await sandbox.cleanUp();
  });

  const version = (): string => ownSupervisorFile(folder);

  const filled = async (volume: string): Promise<string> => {
    const Mounts = [{ Type: 'volume' as const, Source: volume, Target: '/.berth' }];
    const spec = { Image: sandbox.spec().image, Entrypoint: ['/.berth/supervisor', 'version'], HostConfig: { Mounts } };
    const container = await real.docker.createContainer(spec);
    await container.start();
    const { StatusCode } = (await container.wait()) as { StatusCode: number };
    await container.remove();
    return StatusCode === 0 ? 'works' : `ended with ${String(StatusCode)}`;
  };

  it('is filled once by processes that need it at the same time', async () => {
    const file = version();
    const parts = [1, 2, 3, 4].map(() => new SupervisorVolume(sandbox.dockerEngine().daemon, file));
    const names = (await Promise.all(parts.map((part) => part.ensure()))).map(({ volume }) => volume);
    expect(new Set(names).size).toBe(1);
    const [name = ''] = names;
    made.push(name, `${(await parts[0]?.name()) ?? ''}-files`);
    expect(await filled(name)).toBe('works');
    const left = await real.docker.listContainers({ all: true, filters: { name: [(await parts[0]?.name()) ?? ''] } });
    expect(left).toEqual([]);
  });

  it('is filled by the next process if one has died on the way', async () => {
    const engine = sandbox.dockerEngine();
    const volume = new SupervisorVolume(engine.daemon, version());
    const name = `${await volume.name()}-files`;
    made.push(name);
    await real.docker.createVolume({ Name: name });
    // What the dead process has left: its container, and half of the program.
    const Mounts = [{ Type: 'volume' as const, Source: name, Target: '/.berth' }];
    const script = 'echo half >/.berth/supervisor';
    const spec = { name, Image: sandbox.spec().image, Entrypoint: ['sh', '-c', script], HostConfig: { Mounts } };
    const dead = await real.docker.createContainer(spec);
    await dead.start();
    await dead.wait();
    const later = Math.floor(Date.now() / 1000) + 60;
    jest.spyOn(engine.daemon, 'seconds').mockResolvedValue(later);
    const { volume: shown } = await volume.ensure();
    made.unshift(shown);
    expect(await filled(shown)).toBe('works');
  });

  it('of another version is removed after a day without containers', async () => {
    const engine = sandbox.dockerEngine();
    const [former, current] = [
      new SupervisorVolume(engine.daemon, version()),
      new SupervisorVolume(engine.daemon, version()),
    ];
    const [old, name] = [(await former.ensure()).volume, (await current.ensure()).volume];
    const files = `${await former.name()}-files`;
    made.push(old, name, files, `${await current.name()}-files`);
    await current.removeOld();
    expect(await sandbox.hasVolume(old)).toBe(true);
    const Mounts = [{ Type: 'volume' as const, Source: old, Target: '/.berth' }];
    const user = await real.docker.createContainer({ Image: sandbox.spec().image, HostConfig: { Mounts } });
    // Other tests of this run use one of today.
    const tomorrow = Math.floor(Date.now() / 1000) + 86_500;
    jest.spyOn(engine.daemon, 'seconds').mockResolvedValue(tomorrow);
    await current.removeOld();
    expect(await sandbox.hasVolume(old)).toBe(true);
    expect(await sandbox.hasVolume(files)).toBe(true);
    await user.remove();
    await current.removeOld();
    const left = await Promise.all([old, files, name].map((each) => sandbox.hasVolume(each)));
    expect(left).toEqual([false, false, true]);
  });

  it('cannot be made without the program', async () => {
    const volume = new SupervisorVolume(sandbox.dockerEngine().daemon, join(folder, 'none'));
    await expect(volume.ensure()).rejects.toThrow(/SUPERVISOR_FILE/);
  });
});
