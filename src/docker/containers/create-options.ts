import type { ContainerCreateOptions, HostConfig, MountSettings } from 'dockerode';
import type { ContainerSpec, EngineCapabilities, OwnerLabels } from '../container-engine';
import type { RestrictedSandbox } from '../firewall/allow-rules';
import { MARKER } from '../programs/process-marker';
import { DATA_PATH, LAUNCHER, SUPERVISOR } from './supervisor';

/** The labels on Berth's objects in Docker. They are enough to find the row that an object belongs to. */
export const LABELS = {
  managed: 'berth.managed',
  instance: 'berth.instance',
  containerId: 'berth.container_id',
  userId: 'berth.user_id',
  generation: 'berth.generation',
  /** `internet`, `none`, or `allow` with the list in the next. */
  network: 'berth.network',
  /** The entries of the allow list, separated by commas; empty: none. */
  allow: 'berth.allow',
  /** The image's own user, as whom commands run, though the main process is root's. */
  user: 'berth.user',
  /**
   * On an object that is created only as a probe; instead of `berth.instance`, so that it never counts as a sandbox.
   */
  probe: 'berth.probe',
  /** On a container of Berth's own that belongs to a machine and to no sandbox; without `berth.instance`. */
  helper: 'berth.helper',
} as const;

/** What all of Berth's labels begin with. */
const PREFIX = 'berth.';

/** @param labels an image's @returns the names of those that pass for Berth's */
export function claimedLabels(labels: Readonly<Record<string, unknown>> | null | undefined): string[] {
  return Object.keys(labels ?? {}).filter((label) => label.startsWith(PREFIX));
}

/**
 * All labels of a container. Docker adds the image's to those that it is given, so each of Berth's that does not apply
 * is there too, without a value: otherwise an image could say of its containers that they are another's, or a probe's
 * leftover. A label's name alone therefore says nothing; compare values.
 *
 * @param claimed as {@link claimedLabels} finds them of the image
 */
export function containerLabels(
  own: Readonly<Record<string, string>>,
  claimed: readonly string[] = [],
): Record<string, string> {
  const blank = [...Object.values(LABELS), ...claimed].map((label) => [label, ''] as const);
  return { ...Object.fromEntries(blank), ...own };
}

/** @returns the labels that identify an object's owner */
export function ownerLabels(owner: OwnerLabels): Record<string, string> {
  return {
    [LABELS.managed]: 'true',
    [owner.isProbe ? LABELS.probe : LABELS.instance]: owner.instance,
    [LABELS.containerId]: owner.containerId,
    [LABELS.userId]: owner.userId,
  };
}

const CPU_PERIOD_US = 100_000;
const BYTES_PER_MB = 1024 * 1024;

/** Of the memory limit, which what lies in `/dev/shm` counts towards. */
const SHM_SHARE = 1 / 2;

/** What `apt`, `sudo`-less daemons and file ownership need; everything else is dropped. */
const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SETGID', 'SETUID', 'KILL', 'NET_BIND_SERVICE'];

/** What has to be known of an image to run it as a sandbox. */
export interface SandboxImage {
  /** As Docker has it: a name or an id, with a group perhaps; empty: root. */
  readonly user: string;
  /** Whether it has `/bin/sh`. */
  readonly hasShell: boolean;
  /** Its labels that pass for Berth's. */
  readonly claimedLabels?: readonly string[];
}

/** The sandboxes' surroundings. */
export interface Surroundings {
  readonly capabilities: EngineCapabilities;
  readonly network: string;
  /** If it has an allow list. */
  readonly restricted?: RestrictedSandbox | null;
  /** Docker's own where there are none. */
  readonly nameServers: readonly string[];
}

/** The body of Docker's create call: all that a sandbox may do. Anything not listed is Docker's default, never more. */
export function createOptions(
  spec: ContainerSpec,
  image: SandboxImage,
  { capabilities, network, restricted = null, nameServers }: Surroundings,
): ContainerCreateOptions {
  return {
    name: spec.name,
    Image: spec.image,
    ...mainProcess(image, { env: { HOME: DATA_PATH, ...spec.env }, nameServers }),
    WorkingDir: DATA_PATH,
    Labels: containerLabels(
      {
        ...ownerLabels(spec.owner),
        [LABELS.generation]: String(spec.generation),
        [LABELS.user]: image.user === '' ? '0' : image.user,
        [LABELS.network]: typeof spec.network === 'string' ? spec.network : 'allow',
        [LABELS.allow]: typeof spec.network === 'string' ? '' : spec.network.allow.join(),
      },
      image.claimedLabels,
    ),
    // The image's own stop signal and health check are meant for the main process that does not run here.
    StopSignal: 'SIGTERM',
    Healthcheck: { Test: ['NONE'] },
    HostConfig: hostConfig(spec, { capabilities, network }),
    ...(restricted && networkCard(network, restricted)),
  };
}

/** Docker before 25 knows the address of the container alone, later ones of its endpoint. */
function networkCard(
  network: string,
  { macAddress: MacAddress }: RestrictedSandbox,
): Pick<ContainerCreateOptions, 'MacAddress' | 'NetworkingConfig'> {
  return { MacAddress, NetworkingConfig: { EndpointsConfig: { [network]: { MacAddress } } } };
}

/**
 * Any image idles under the init, whatever its own main process is; work is done by exec. Without a shell it only
 * sleeps, as its own user: its names are Docker's, its home is root's unless the image has one, and its other processes
 * are killed as soon as it ends.
 */
function mainProcess(
  { user, hasShell }: SandboxImage,
  { env, nameServers }: { env: Readonly<Record<string, string>>; nameServers: readonly string[] },
): Pick<ContainerCreateOptions, 'Entrypoint' | 'Cmd' | 'Env' | 'User'> {
  if (!hasShell) return { Entrypoint: ['sleep', 'infinity'], Cmd: [], Env: variables(env) };
  return {
    Entrypoint: [...LAUNCHER],
    Cmd: [user, ...nameServers],
    // Last: a variable of this name that a user gives must not become the main process.
    Env: variables({ ...env, [MARKER]: SUPERVISOR }),
    User: '0:0',
  };
}

function variables(env: Readonly<Record<string, string>>): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
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
    ...processLimits(spec, capabilities),
    ShmSize: memory * SHM_SHARE,
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

/**
 * Processes in a sandbox of this much memory that its own memory holds: a `bash` took 0.9 MB under gVisor 20240729, and
 * one process more than the memory holds ends all of them there.
 */
const GVISOR_PROCESSES_PER_MB = 3 / 4;

/** The same of open files: a socket took 5 KB. */
const GVISOR_FILES_PER_MB = 64;
const GVISOR_MOST_FILES = 65_536;

/**
 * Host threads of gVisor for a process in the sandbox: 2 were seen with its platform systrap, 8 with ptrace, and 130
 * for itself. At this limit the whole sandbox ends, so it is far above what its processes can need.
 */
const HOST_THREADS = { ofProcess: 16, ofGvisor: 1024 } as const;

/**
 * A fork, a thread or an open file too many must fail in the sandbox, and nothing else. gVisor enforces a sandbox's
 * ulimits itself, those of processes and threads for each user id, and the cgroup's limit counts gVisor's own threads.
 * Under runc the kernel counts a user id's processes over the whole host, so there the cgroup's limit is the limit; the
 * daemon's other ulimits stay, as raising one is not permitted on every host.
 */
function processLimits(
  { processes, memoryMb }: ContainerSpec,
  { runtime }: EngineCapabilities,
): Pick<HostConfig, 'PidsLimit' | 'Ulimits'> {
  const core = ulimit('core', 0);
  if (runtime === 'runc') return { PidsLimit: processes, Ulimits: [core] };
  const inside = Math.min(processes, Math.floor(memoryMb * GVISOR_PROCESSES_PER_MB));
  const files = Math.min(GVISOR_MOST_FILES, memoryMb * GVISOR_FILES_PER_MB);
  return {
    PidsLimit: inside * HOST_THREADS.ofProcess + HOST_THREADS.ofGvisor,
    Ulimits: [core, ulimit('nproc', inside), ulimit('nofile', files)],
  };
}

function ulimit(Name: string, value: number): { Name: string; Soft: number; Hard: number } {
  return { Name, Soft: value, Hard: value };
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
