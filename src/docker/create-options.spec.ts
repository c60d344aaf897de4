import type { ContainerSpec, EngineCapabilities } from './container-engine';
import { createOptions } from './create-options';

const spec: ContainerSpec = {
  name: 'berth-1b4e28ba',
  image: 'ubuntu:24.04',
  env: { EDITOR: 'vi', EMPTY: '' },
  memoryMb: 512,
  cpuShares: 1500,
  diskMb: 2048,
  volumeName: 'berth-1b4e28ba-data',
  owner: { instance: 'prod', containerId: 'c1', userId: 'u1' },
  generation: 3,
};
const capabilities: EngineCapabilities = { runtime: 'runsc', diskQuota: 'unsupported', volumeResize: 'none' };
const options = (changes: Partial<ContainerSpec> = {}, with_: Partial<EngineCapabilities> = {}) =>
  createOptions({ ...spec, ...changes }, { capabilities: { ...capabilities, ...with_ }, network: 'berth-prod' });

describe('what Docker is asked for', () => {
  it('must be this and nothing else', () => {
    expect(options()).toEqual({
      name: 'berth-1b4e28ba',
      Image: 'ubuntu:24.04',
      Entrypoint: ['sleep', 'infinity'],
      Cmd: [],
      WorkingDir: '/home/user',
      Env: ['HOME=/home/user', 'EDITOR=vi', 'EMPTY='],
      Labels: {
        'berth.managed': 'true',
        'berth.instance': 'prod',
        'berth.container_id': 'c1',
        'berth.user_id': 'u1',
        'berth.generation': '3',
      },
      StopSignal: 'SIGTERM',
      Healthcheck: { Test: ['NONE'] },
      HostConfig: {
        Runtime: 'runsc',
        Init: true,
        Memory: 536_870_912,
        MemorySwap: 536_870_912,
        CpuPeriod: 100_000,
        CpuQuota: 150_000,
        PidsLimit: 512,
        CapDrop: ['ALL'],
        CapAdd: ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SETGID', 'SETUID', 'KILL', 'NET_BIND_SERVICE'],
        SecurityOpt: ['no-new-privileges'],
        Privileged: false,
        IpcMode: 'private',
        NetworkMode: 'berth-prod',
        Mounts: [
          {
            Type: 'volume',
            Source: 'berth-1b4e28ba-data',
            Target: '/home/user',
            VolumeOptions: {
              NoCopy: false,
              Labels: {
                'berth.managed': 'true',
                'berth.instance': 'prod',
                'berth.container_id': 'c1',
                'berth.user_id': 'u1',
              },
              DriverConfig: { Name: 'local', Options: {} },
            },
          },
        ],
        RestartPolicy: { Name: 'unless-stopped' },
        LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
      },
    });
  });

  // CIS Docker Benchmark 1.6, section 5: what a container must not be given. Kept as a list, so that an addition is seen.
  it.each([
    ['5.4 privileged', 'Privileged', false],
    ['5.5 host directories', 'Binds', undefined],
    ['5.8 published ports', 'PortBindings', undefined],
    ['5.8 all ports published', 'PublishAllPorts', undefined],
    ['5.16 the host’s processes', 'PidMode', undefined],
    ['5.17 the host’s IPC', 'IpcMode', 'private'],
    ['5.18 devices', 'Devices', undefined],
    ['5.21 the host’s UTS', 'UTSMode', undefined],
    ['5.31 the host’s users', 'UsernsMode', undefined],
    ['5.25 another cgroup parent', 'CgroupParent', undefined],
    ['unmasked paths', 'MaskedPaths', undefined],
    ['writable kernel paths', 'ReadonlyPaths', undefined],
    ['kernel settings', 'Sysctls', undefined],
    ['volumes of others', 'VolumesFrom', undefined],
    ['supplementary groups', 'GroupAdd', undefined],
  ] as const)('must not ask for %s', (_rule, field, value) => {
    expect(options().HostConfig?.[field]).toBe(value);
  });

  it('must leave seccomp and AppArmor as Docker has them', () => {
    expect(options().HostConfig?.SecurityOpt).toEqual(['no-new-privileges']);
  });

  it('must mount the data volume and nothing of the host', () => {
    expect(options().HostConfig?.Mounts).toEqual([expect.objectContaining({ Type: 'volume' })]);
  });

  it('must limit the writable layer where the kernel can hold the limit, and not ask for it where it cannot', () => {
    expect(options({}, { diskQuota: 'enforced' }).HostConfig?.StorageOpt).toEqual({ size: '2048M' });
    expect(options({}, { diskQuota: 'off' }).HostConfig).not.toHaveProperty('StorageOpt');
  });

  it('must limit a data volume that Docker has to make anew, where the kernel can hold the limit', () => {
    const [mount] = options({}, { diskQuota: 'enforced' }).HostConfig?.Mounts ?? [];
    expect(mount?.VolumeOptions?.DriverConfig).toEqual({ Name: 'local', Options: { size: '2048M' } });
  });

  it('must let a user choose another home', () => {
    expect(options({ env: { HOME: '/root' } }).Env).toEqual(['HOME=/root']);
  });

  it.each([
    [250, 25_000],
    [1000, 100_000],
    [8000, 800_000],
  ])('must give %i millicores a quota of %i in each period', (cpuShares, quota) => {
    expect(options({ cpuShares }).HostConfig).toMatchObject({ CpuPeriod: 100_000, CpuQuota: quota });
  });

  it('must give runc where that was chosen', () => {
    expect(options({}, { runtime: 'runc' }).HostConfig?.Runtime).toBe('runc');
  });
});
