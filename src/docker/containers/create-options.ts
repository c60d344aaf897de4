import { createHash } from 'node:crypto';
import type { ContainerCreateOptions, HostConfig, MountSettings } from 'dockerode';
import {
  type ContainerSpec,
  DATA_PATH,
  type EngineCapabilities,
  INIT,
  KEEP_HOME,
  PROTOCOL,
  SUPERVISOR_PATH,
} from '../../engine';
import type { RestrictedSandbox } from '../firewall/allow-rules';
import { containerLabels, LABELS, ownerLabels, supervisorLabels } from '../model/labels';
import { shownReadOnly, sizeOption, type SupervisorMount, volumeOptions } from '../model/volume-options';

const CPU_PERIOD_US = 100_000;
const BYTES_PER_MB = 1024 * 1024;

/** The writable layer of a container that was moved with layers which fill its disk. It has to be able to start. */
const LEAST_LAYER_MB = 16;

/** The size of `/dev/shm`, as a share of the memory limit. Its contents count towards that limit. */
const SHM_SHARE = 1 / 2;

/** The capabilities that `apt`, daemons without `sudo`, and file ownership need; all others are dropped. */
const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SETGID', 'SETUID', 'KILL', 'NET_BIND_SERVICE'];

/** The properties of an image that determine how it runs as a sandbox. */
export interface SandboxImage {
  /** The image's `USER`: a name or an id, possibly with a group; empty means root. */
  readonly user: string;
  /** The image's labels that could be taken for Berth's. */
  readonly claimedLabels?: readonly string[];
}

/** The host's settings for a sandbox. */
export interface Surroundings {
  readonly capabilities: EngineCapabilities;
  readonly network: string;
  readonly supervisor: SupervisorMount;
  /** Null or absent if the sandbox has no allow list. */
  readonly restricted?: RestrictedSandbox | null;
  /** If empty, Docker's own name servers are used. */
  readonly nameServers: readonly string[];
}

/**
 * The body of Docker's create call: everything that a sandbox is allowed. What is not listed has Docker's default,
 * never more.
 */
export function createOptions(
  spec: ContainerSpec,
  image: SandboxImage,
  { capabilities, network, supervisor, restricted = null, nameServers }: Surroundings,
): ContainerCreateOptions {
  const { hostname = '' } = spec;
  return {
    name: spec.name,
    Image: spec.image,
    ...(hostname !== '' && { Hostname: hostnameOf(hostname) }),
    // The main process is the supervisor, whatever the image's own is; it runs programs as the image's user.
    Entrypoint: [...INIT],
    Cmd: [...(spec.isSeeded ? [KEEP_HOME] : []), image.user === '' ? '0' : image.user, ...nameServers],
    Env: [`HOME=${DATA_PATH}`],
    User: '0:0',
    WorkingDir: DATA_PATH,
    Labels: containerLabels(
      {
        ...ownerLabels(spec.owner),
        [LABELS.warm]: spec.owner.isWarm ? 'true' : '',
        [LABELS.generation]: String(spec.generation),
        [LABELS.user]: image.user === '' ? '0' : image.user,
        [LABELS.supervisor]: String(PROTOCOL),
        [LABELS.network]: typeof spec.network === 'string' ? spec.network : 'allow',
        [LABELS.allow]: typeof spec.network === 'string' ? '' : spec.network.allow.join(),
      },
      image.claimedLabels,
    ),
    // The image's stop signal and health check are meant for its own main process, which does not run here.
    StopSignal: 'SIGTERM',
    Healthcheck: { Test: ['NONE'] },
    HostConfig: hostConfig(spec, { capabilities, network, supervisor }),
    ...(restricted && networkCard(network, restricted)),
  };
}

/** A host name has 63 characters at most, and no "-" at its ends, as a container's name may have (RFC 1123). */
function hostnameOf(name: string): string {
  return name.slice(0, 63).replace(/^-+|-+$/g, '') || 'sandbox';
}

/** The fields of a spec that name one sandbox and do not change what it may do. */
const IDENTITY = { name: '', hostname: '', volumeName: '', node: null, generation: 1 } as const;

/**
 * A digest of everything in the create call that distinguishes sandboxes, except their names: two specs with the same
 * key get interchangeable sandboxes. It is made from the call itself, so that no option can be left out.
 *
 * @param image.id decides which volumes the image declares
 * @param surroundings.network the kind of network: which of several has room makes no difference
 */
export function createKey(
  spec: ContainerSpec,
  image: SandboxImage & { readonly id: string },
  surroundings: Omit<Surroundings, 'restricted'>,
): string {
  const owner = { instance: spec.owner.instance, containerId: '', userId: '' };
  const asUser = { ...image, user: spec.user ?? image.user };
  const body = createOptions({ ...spec, ...IDENTITY, image: image.id, owner }, asUser, surroundings);
  return createHash('sha256').update(JSON.stringify(body)).digest('hex');
}

/** Docker before 25 reads the container's MAC address, later versions that of the endpoint. */
function networkCard(
  network: string,
  { macAddress: MacAddress }: RestrictedSandbox,
): Pick<ContainerCreateOptions, 'MacAddress' | 'NetworkingConfig'> {
  return { MacAddress, NetworkingConfig: { EndpointsConfig: { [network]: { MacAddress } } } };
}

/** dockerode's types predate API 1.41. */
type SandboxConfig = HostConfig & { CgroupnsMode: 'private' };

function hostConfig(
  spec: ContainerSpec,
  { capabilities, network, supervisor }: Pick<Surroundings, 'capabilities' | 'network' | 'supervisor'>,
): SandboxConfig {
  const memory = spec.memoryMb * BYTES_PER_MB;
  return {
    Runtime: capabilities.runtime,
    // The supervisor reaps.
    Init: false,
    Memory: memory,
    // The limit of memory and swap together: the same number means no swap.
    MemorySwap: memory,
    // Not NanoCpus: Docker refuses a value above the number of the host's cores.
    CpuPeriod: CPU_PERIOD_US,
    CpuQuota: (spec.cpuShares * CPU_PERIOD_US) / 1000,
    ...processLimits(spec, capabilities),
    ShmSize: memory * SHM_SHARE,
    CapDrop: ['ALL'],
    CapAdd: CAPABILITIES,
    SecurityOpt: ['no-new-privileges'],
    // Explicit: the daemon's configuration can change the defaults to shared namespaces.
    Privileged: false,
    IpcMode: 'private',
    CgroupnsMode: 'private',
    NetworkMode: network,
    Mounts: [volumeMount(spec, capabilities), supervisorMount(supervisor)],
    RestartPolicy: { Name: 'unless-stopped' },
    LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
    ...(capabilities.diskQuota === 'enforced'
      ? { StorageOpt: { size: sizeOption(Math.max(LEAST_LAYER_MB, spec.diskMb - (spec.keptLayerMb ?? 0))) } }
      : {}),
  };
}

/**
 * Processes per MB of a sandbox's memory. A `bash` took 0.9 MB under gVisor 20240729, where one process more than
 * fits in the memory ends all of them.
 */
const GVISOR_PROCESSES_PER_MB = 3 / 4;

/** Open files per MB of a sandbox's memory: a socket took 5 KB. */
const GVISOR_FILES_PER_MB = 64;
const GVISOR_MOST_FILES = 65_536;

/**
 * Host threads that gVisor may use: for each process in the sandbox (2 were seen with the platform systrap, 8 with
 * ptrace), and for itself (130 were seen). The whole sandbox ends at this limit, so it is far above what the
 * processes can need.
 */
const HOST_THREADS = { ofProcess: 16, ofGvisor: 1024 } as const;

/**
 * A fork, thread or open file above the limit must fail inside the sandbox, and have no other effect. gVisor enforces
 * the ulimits of a sandbox itself, those of processes and threads for each user id; the cgroup's limit counts
 * gVisor's own threads. Under runc, the kernel counts the processes of a user id over the whole host, so the cgroup's
 * limit is used. The daemon's other ulimits stay: not every host permits raising one.
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

/**
 * Labels and size take effect only if the volume is gone: Docker then creates it again, and its owner must be
 * identifiable.
 */
function volumeMount(spec: ContainerSpec, capabilities: EngineCapabilities): MountSettings {
  const { volumeName, owner, diskMb, isSeeded = false } = spec;
  const DriverConfig = { Name: 'local', Options: volumeOptions(diskMb, capabilities) };
  return {
    Type: 'volume',
    Source: volumeName,
    Target: DATA_PATH,
    // Docker's default: the image's files at this path are copied into a new volume.
    VolumeOptions: { NoCopy: isSeeded, Labels: ownerLabels(owner), DriverConfig },
  };
}

/** Labels matter only if the volume is gone: Docker then recreates it, and it must be identifiable. */
function supervisorMount({ volume, device }: SupervisorMount): MountSettings {
  const DriverConfig = { Name: 'local', Options: shownReadOnly(device) };
  return {
    Type: 'volume',
    Source: volume,
    Target: SUPERVISOR_PATH,
    ReadOnly: true,
    VolumeOptions: { NoCopy: true, Labels: supervisorLabels(), DriverConfig },
  };
}
