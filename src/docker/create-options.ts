import type { ContainerCreateOptions, HostConfig, MountSettings } from 'dockerode';
import type { ContainerSpec, EngineCapabilities, OwnerLabels } from './container-engine';

/** The labels on Berth's objects in Docker. They are enough to find the row that an object belongs to. */
export const LABELS = {
  managed: 'berth.managed',
  instance: 'berth.instance',
  containerId: 'berth.container_id',
  userId: 'berth.user_id',
  generation: 'berth.generation',
  /**
   * On an object that is created only as a probe; instead of `berth.instance`, so that it never counts as a sandbox.
   */
  probe: 'berth.probe',
} as const;

/** @returns the labels that identify an object's owner */
export function ownerLabels(owner: OwnerLabels): Record<string, string> {
  return {
    [LABELS.managed]: 'true',
    [LABELS.instance]: owner.instance,
    [LABELS.containerId]: owner.containerId,
    [LABELS.userId]: owner.userId,
  };
}

/** The mount point of the data volume, and the home directory in the sandbox. */
export const DATA_PATH = '/home/user';

const CPU_PERIOD_US = 100_000;
const PIDS_LIMIT = 512;
const BYTES_PER_MB = 1024 * 1024;

/** What `apt`, `sudo`-less daemons and file ownership need; everything else is dropped. */
const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SETGID', 'SETUID', 'KILL', 'NET_BIND_SERVICE'];

/** The body of Docker's create call: all that a sandbox may do. Anything not listed is Docker's default, never more. */
export function createOptions(
  spec: ContainerSpec,
  { capabilities, network }: { capabilities: EngineCapabilities; network: string },
): ContainerCreateOptions {
  return {
    name: spec.name,
    Image: spec.image,
    // Any image idles under the init, whatever its own main process is; work is done by exec.
    Entrypoint: ['sleep', 'infinity'],
    Cmd: [],
    WorkingDir: DATA_PATH,
    Env: Object.entries({ HOME: DATA_PATH, ...spec.env }).map(([name, value]) => `${name}=${value}`),
    Labels: { ...ownerLabels(spec.owner), [LABELS.generation]: String(spec.generation) },
    // The image's own stop signal and health check are meant for the main process that does not run here.
    StopSignal: 'SIGTERM',
    Healthcheck: { Test: ['NONE'] },
    HostConfig: hostConfig(spec, { capabilities, network }),
  };
}

/** dockerode's types predate API 1.41. */
type SandboxConfig = HostConfig & { CgroupnsMode: 'private' };

function hostConfig(
  spec: ContainerSpec,
  { capabilities, network }: { capabilities: EngineCapabilities; network: string },
): SandboxConfig {
  const memory = spec.memoryMb * BYTES_PER_MB;
  return {
    Runtime: capabilities.runtime,
    Init: true,
    Memory: memory,
    // Memory and swap together: the same number means no swap.
    MemorySwap: memory,
    // Not NanoCpus, which Docker refuses above the host's cores.
    CpuPeriod: CPU_PERIOD_US,
    CpuQuota: (spec.cpuShares * CPU_PERIOD_US) / 1000,
    PidsLimit: PIDS_LIMIT,
    // All other limits stay the daemon's: raising one, such as that of open files, is not permitted on every host.
    Ulimits: [{ Name: 'core', Soft: 0, Hard: 0 }],
    CapDrop: ['ALL'],
    CapAdd: CAPABILITIES,
    SecurityOpt: ['no-new-privileges'],
    // Explicit, as a daemon's configuration can change the defaults to shared namespaces.
    Privileged: false,
    IpcMode: 'private',
    CgroupnsMode: 'private',
    NetworkMode: network,
    Mounts: [volumeMount(spec, capabilities)],
    RestartPolicy: { Name: 'unless-stopped' },
    LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
    ...(capabilities.diskQuota === 'enforced' ? { StorageOpt: { size: sizeOption(spec.diskMb) } } : {}),
  };
}

/** Labels and size matter only if the volume is gone: Docker then recreates it, and its owner must be identifiable. */
function volumeMount({ volumeName, owner, diskMb }: ContainerSpec, capabilities: EngineCapabilities): MountSettings {
  const DriverConfig = { Name: 'local', Options: volumeOptions(diskMb, capabilities) };
  return {
    Type: 'volume',
    Source: volumeName,
    Target: DATA_PATH,
    // Docker's default: the image's contents at the path are copied into a new volume.
    VolumeOptions: { NoCopy: false, Labels: ownerLabels(owner), DriverConfig },
  };
}

/** The options of a data volume's driver, which limit its size if the kernel can. */
export function volumeOptions(diskMb: number, { diskQuota }: EngineCapabilities): Record<string, string> {
  return diskQuota === 'enforced' ? { size: sizeOption(diskMb) } : {};
}

/** A size in the format of Docker's drivers; their `M` is 1024 × 1024. */
export function sizeOption(megabytes: number): string {
  return `${String(megabytes)}M`;
}
