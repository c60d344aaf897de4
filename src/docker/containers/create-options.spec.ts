import type { ContainerSpec, EngineCapabilities } from '../../engine';
import { claimedLabels, LABELS } from '../model/labels';
import { createKey, createOptions, type SandboxImage } from './create-options';
import { restrictedIn, restrictedSandbox } from '../firewall/restricted-sandboxes';

const spec: ContainerSpec = {
  name: 'berth-1b4e28ba',
  image: 'ubuntu:24.04',
  memoryMb: 512,
  cpuShares: 1500,
  diskMb: 2048,
  network: 'internet',
  processes: 1024,
  volumeName: 'berth-1b4e28ba-data',
  owner: { instance: 'prod', containerId: 'c1', userId: 'u1' },
  generation: 3,
};
const capabilities: EngineCapabilities = {
  runtime: 'runsc',
  diskQuota: 'unsupported',
  volumeResize: 'none',
  hostFirewall: 'enforced',
  allowLists: 'enforced',
};
const SUPERVISOR = { volume: 'berth-supervisor-1', device: '/data' };
const NAME_SERVERS = ['192.0.2.53', '192.0.2.54'];
const options = (
  changes: Partial<ContainerSpec> = {},
  with_: Partial<EngineCapabilities> = {},
  image: SandboxImage = { user: '' },
) =>
  createOptions({ ...spec, ...changes }, image, {
    capabilities: { ...capabilities, ...with_ },
    network: 'berth-prod',
    supervisor: SUPERVISOR,
    nameServers: NAME_SERVERS,
  });

describe('what Docker is asked for', () => {
  it.each([
    ['dev', 'dev'],
    ['-dev-', 'dev'],
    ['---', 'sandbox'],
    ['a'.repeat(64), 'a'.repeat(63)],
  ])('has the name %s of the container as the host name %s', (hostname, expected) => {
    expect(options({ hostname })).toMatchObject({ Hostname: expected });
  });

  it('must be this and nothing else', () => {
    expect(options()).toEqual({
      name: 'berth-1b4e28ba',
      Image: 'ubuntu:24.04',
      Entrypoint: ['/.berth/supervisor', 'init'],
      Cmd: ['0', '192.0.2.53', '192.0.2.54'],
      User: '0:0',
      WorkingDir: '/home/user',
      Env: ['HOME=/home/user'],
      Labels: {
        'berth.managed': 'true',
        'berth.instance': 'prod',
        'berth.container_id': 'c1',
        'berth.user_id': 'u1',
        'berth.generation': '3',
        'berth.user': '0',
        'berth.network': 'internet',
        'berth.allow': '',
        'berth.probe': '',
        'berth.process': '',
        'berth.helper': '',
        'berth.warm': '',
        'berth.snapshot': '',
        'berth.supervisor': '1',
        'berth.layer': '',
      },
      StopSignal: 'SIGTERM',
      Healthcheck: { Test: ['NONE'] },
      HostConfig: {
        Runtime: 'runsc',
        Init: false,
        Memory: 536_870_912,
        MemorySwap: 536_870_912,
        CpuPeriod: 100_000,
        CpuQuota: 150_000,
        PidsLimit: 7168,
        Ulimits: [
          { Name: 'core', Soft: 0, Hard: 0 },
          { Name: 'nproc', Soft: 384, Hard: 384 },
          { Name: 'nofile', Soft: 32_768, Hard: 32_768 },
        ],
        ShmSize: 268_435_456,
        CapDrop: ['ALL'],
        CapAdd: ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SETGID', 'SETUID', 'KILL', 'NET_BIND_SERVICE'],
        SecurityOpt: ['no-new-privileges'],
        Privileged: false,
        IpcMode: 'private',
        CgroupnsMode: 'private',
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
          {
            Type: 'volume',
            Source: SUPERVISOR.volume,
            Target: '/.berth',
            ReadOnly: true,
            VolumeOptions: {
              NoCopy: true,
              Labels: { 'berth.managed': 'true', 'berth.helper': 'supervisor' },
              DriverConfig: { Name: 'local', Options: { type: 'none', o: 'bind,ro', device: '/data' } },
            },
          },
        ],
        RestartPolicy: { Name: 'unless-stopped' },
        LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
      },
    });
  });

  it('must leave the volume and its owner to the data that is copied into it', () => {
    const image = { user: '1000' };
    const seeded = options({ isSeeded: true }, {}, image);
    expect(seeded.Cmd).toEqual(['-keep-home', '1000', ...NAME_SERVERS]);
    expect(seeded.HostConfig?.Mounts?.[0]).toMatchObject({ VolumeOptions: { NoCopy: true } });
    expect(seeded.Labels).toMatchObject({ 'berth.user': '1000' });
  });

  it('must have each label of Berth, without a value where it does not apply, and those that the image claims', () => {
    const image = { user: '', claimedLabels: ['berth.probe', 'berth.instance', 'berth.later'] };
    const none = Object.fromEntries(Object.values(LABELS).map((label) => [label, '']));
    expect(options({}, {}, image).Labels).toEqual({
      ...none,
      ...options().Labels,
      'berth.probe': '',
      'berth.process': '',
      'berth.instance': 'prod',
      'berth.later': '',
    });
    const owner = { instance: 'prod', containerId: 'c1', userId: 'u1', probeOf: 'p1' } as const;
    expect(options({ owner }, {}, image).Labels).toMatchObject({ 'berth.probe': 'prod', 'berth.instance': '' });
    expect(claimedLabels({ 'berth.x': '1', 'berthed.y': '1', 'org.berth.z': '1', maintainer: 'm' })).toEqual([
      'berth.x',
    ]);
    expect(claimedLabels(null)).toEqual([]);
  });

  // The numbers are those of CIS Docker Benchmark 1.6.0; docs/security.md says what is met and what is not, and why.
  it.each<[string, string, unknown]>([
    ['5.5 not privileged', 'Privileged', false],
    ['5.6 no directory of the host', 'Binds', undefined],
    ['5.8, 5.9, 5.14 no published port', 'PortBindings', undefined],
    ['5.8, 5.9, 5.14 not all ports published', 'PublishAllPorts', undefined],
    ['5.10, 5.30 neither the host’s network nor docker0', 'NetworkMode', 'berth-prod'],
    ['5.11 limited memory', 'Memory', 536_870_912],
    ['5.11 no swap beyond that', 'MemorySwap', 536_870_912],
    ['5.12 limited CPU', 'CpuQuota', 150_000],
    ['5.16 not the host’s processes', 'PidMode', undefined],
    ['5.17 not the host’s IPC', 'IpcMode', 'private'],
    ['5.18 no device', 'Devices', undefined],
    ['5.18 no device by request', 'DeviceRequests', undefined],
    ['5.18 no rule for devices', 'DeviceCgroupRules', undefined],
    ['5.19 no core of a process that crashed', 'Ulimits', expect.arrayContaining([{ Name: 'core', Soft: 0, Hard: 0 }])],
    ['5.21 not the host’s UTS', 'UTSMode', undefined],
    ['5.22, 5.26 Docker’s seccomp profile, no new privileges', 'SecurityOpt', ['no-new-privileges']],
    ['5.25 Docker’s own cgroup', 'CgroupParent', undefined],
    ['5.25 a cgroup namespace of its own', 'CgroupnsMode', 'private'],
    ['5.29 limited processes', 'PidsLimit', 7168],
    ['5.31 not the host’s users', 'UsernsMode', undefined],
    ['no unmasked path', 'MaskedPaths', undefined],
    ['no writable kernel path', 'ReadonlyPaths', undefined],
    ['no kernel setting', 'Sysctls', undefined],
    ['no volume of others', 'VolumesFrom', undefined],
    ['no link to others', 'Links', undefined],
    ['no supplementary group', 'GroupAdd', undefined],
    ['no name of hosts', 'ExtraHosts', undefined],
    ['the kernel may kill it', 'OomKillDisable', undefined],
  ])('must keep to: %s', (_rule, field, value) => {
    expect((options().HostConfig as Record<string, unknown>)[field]).toEqual(value);
  });

  it('must leave seccomp and AppArmor as Docker has them', () => {
    expect(options().HostConfig?.SecurityOpt).toEqual(['no-new-privileges']);
  });

  it("must run its main process as root and note the image's user, for commands and the home", () => {
    const { User, Cmd, Labels } = options({}, {}, { user: 'app:staff' });
    expect([User, Cmd?.[0], Labels?.['berth.user']]).toEqual(['0:0', 'app:staff', 'app:staff']);
  });

  it('must give a sandbox with an allow list the address that its rules go by, and labels that say so', () => {
    const listed = { ...spec, network: { allow: ['192.0.2.0/24:443', '192.0.2.1/32:53/udp'] } };
    const restricted = restrictedSandbox(listed);
    const surroundings = {
      capabilities,
      network: 'berth.allow-prod',
      restricted,
      supervisor: SUPERVISOR,
      nameServers: NAME_SERVERS,
    };
    const body = createOptions(listed, { user: '' }, surroundings);
    expect(restricted?.macAddress).toMatch(/^0a(:[0-9a-f]{2}){5}$/);
    const { macAddress: MacAddress } = restricted ?? {};
    expect([body.MacAddress, body.NetworkingConfig]).toEqual([
      MacAddress,
      { EndpointsConfig: { 'berth.allow-prod': { MacAddress } } },
    ]);
    expect(restrictedIn(body.Labels)).toEqual(restricted);
    expect(restrictedIn(options().Labels)).toBeNull();
    const others = [{ generation: 4 }, { owner: { ...spec.owner, containerId: 'c2' } }, { network: { allow: [] } }];
    for (const changes of others)
      expect(restrictedSandbox({ ...listed, ...changes })).not.toMatchObject({ macAddress: MacAddress });
  });

  it('must mount the data volume, the supervisor read-only, and nothing of the host', () => {
    expect(options().HostConfig?.Mounts).toEqual([
      expect.objectContaining({ Type: 'volume', Target: '/home/user' }),
      expect.objectContaining({ Type: 'volume', Target: '/.berth', ReadOnly: true, Source: SUPERVISOR.volume }),
    ]);
  });

  it('must limit the writable layer where the kernel can hold the limit, and not ask for it where it cannot', () => {
    expect(options({}, { diskQuota: 'enforced' }).HostConfig?.StorageOpt).toEqual({ size: '2048M' });
    expect(options({}, { diskQuota: 'off' }).HostConfig).not.toHaveProperty('StorageOpt');
  });

  it('must leave the writable layer what the layers below do not take, and enough to start', () => {
    const limit = (keptLayerMb: number): unknown =>
      options({ keptLayerMb }, { diskQuota: 'enforced' }).HostConfig?.StorageOpt;
    expect([limit(48), limit(2040), limit(4096)]).toEqual([{ size: '2000M' }, { size: '16M' }, { size: '16M' }]);
  });

  it('must limit a data volume that Docker has to recreate, where the kernel can hold the limit', () => {
    const [mount] = options({}, { diskQuota: 'enforced' }).HostConfig?.Mounts ?? [];
    expect(mount?.VolumeOptions?.DriverConfig).toEqual({ Name: 'local', Options: { size: '2048M' } });
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

  it.each([
    [256, 1024, 192, 16_384],
    [1024, 1024, 768, 65_536],
    [8192, 1024, 1024, 65_536],
    [8192, 4000, 4000, 65_536],
    [256, 64, 64, 16_384],
  ])(
    'must let gVisor limit the processes and files of %i MB with %i in the tier, and the host hold its threads',
    (memoryMb, processes, inside, files) => {
      const { PidsLimit, Ulimits } = options({ memoryMb, processes }).HostConfig ?? {};
      expect(Ulimits).toEqual([
        { Name: 'core', Soft: 0, Hard: 0 },
        { Name: 'nproc', Soft: inside, Hard: inside },
        { Name: 'nofile', Soft: files, Hard: files },
      ]);
      expect(PidsLimit).toBeGreaterThan(8 * inside + 130);
    },
  );

  it('must have the cgroup limit processes under runc, where a ulimit would count those of all sandboxes', () => {
    const { PidsLimit, Ulimits } = options({ memoryMb: 256 }, { runtime: 'runc' }).HostConfig ?? {};
    expect([PidsLimit, Ulimits]).toEqual([1024, [{ Name: 'core', Soft: 0, Hard: 0 }]]);
  });

  it('must give shared memory a half of the memory', () => {
    expect(options({ memoryMb: 4096 }).HostConfig?.ShmSize).toBe(2 * 1024 ** 3);
  });
});

describe('the key of a create call', () => {
  const image = { id: 'sha256:1', user: '' };
  const surroundings = {
    capabilities: { ...capabilities, diskQuota: 'enforced' } as const,
    network: 'internet',
    supervisor: SUPERVISOR,
    nameServers: NAME_SERVERS,
  };
  const key = createKey(spec, image, surroundings);

  /** Another value of each field, and whether a sandbox with it is another one. A new field needs a line here. */
  const FIELDS: Readonly<Record<keyof ContainerSpec, { readonly other: unknown; readonly isOther: boolean }>> = {
    name: { other: 'berth-other', isOther: false },
    hostname: { other: 'other', isOther: false },
    volumeName: { other: 'berth-other', isOther: false },
    owner: { other: { instance: 'prod', containerId: 'c2', userId: '', isWarm: true }, isOther: false },
    generation: { other: 1, isOther: false },
    // The node is compared beside the key.
    node: { other: 'node-2', isOther: false },
    // Its id is compared: a name may mean another version by now.
    image: { other: 'debian', isOther: false },
    user: { other: '1000', isOther: true },
    memoryMb: { other: 513, isOther: true },
    cpuShares: { other: 1501, isOther: true },
    diskMb: { other: 2049, isOther: true },
    keptLayerMb: { other: 1, isOther: true },
    isSeeded: { other: true, isOther: true },
    network: { other: { allow: ['192.0.2.1:443'] }, isOther: true },
    processes: { other: 100, isOther: true },
  };

  it.each(Object.entries(FIELDS))('must be another if %s makes another sandbox, and only then', (field, of) => {
    expect(createKey({ ...spec, [field]: of.other }, image, surroundings) !== key).toBe(of.isOther);
  });

  it('must hold the version of the image and all that the host gives', () => {
    const others = [
      createKey(spec, { ...image, id: 'sha256:2' }, surroundings),
      createKey(spec, { ...image, user: 'node' }, surroundings),
      createKey(spec, { ...image, claimedLabels: ['berth.other'] }, surroundings),
      createKey(spec, image, { ...surroundings, nameServers: ['192.0.2.55'] }),
      createKey(spec, image, { ...surroundings, network: 'none' }),
      createKey(spec, image, { ...surroundings, supervisor: { ...SUPERVISOR, volume: 'berth-supervisor-2' } }),
      createKey(spec, image, { ...surroundings, capabilities: { ...capabilities, diskQuota: 'off' } }),
      createKey(spec, image, { ...surroundings, capabilities: { ...surroundings.capabilities, runtime: 'runc' } }),
    ];
    expect(new Set([key, ...others]).size).toBe(others.length + 1);
  });
});
