import type Docker from 'dockerode';
import type { NetworkInspectInfo } from 'dockerode';
import { abortable } from './client';
import { EngineError } from './container-engine';
import { containerOf } from './container-verbs';
import { LABELS } from './create-options';
import { ignoringRefusal, isConnected, refusalOf } from './errors';
import type { SandboxBridge } from './firewall/firewall-rules';
import { observedConnection } from './inspect';

/** A bridge's option: whether containers may talk to each other. */
const INTER_CONTAINER_TRAFFIC = 'com.docker.network.bridge.enable_icc';
/** A bridge's option: the name of its interface, if configured. */
const BRIDGE_NAME = 'com.docker.network.bridge.name';

/** @returns the name of the network of all sandboxes of an instance */
export function networkName(instance: string): string {
  return `berth-${instance}`;
}

/**
 * Makes sure that the sandboxes' network exists, once, and isolates its containers from each other. Safe in several
 * processes at once.
 *
 * @throws EngineError `docker_error` if a network of that name lets its containers talk to each other, or has IPv6
 */
export async function ensureSandboxNetwork(
  docker: Docker,
  instance: string,
  signal: AbortSignal,
): Promise<SandboxBridge> {
  const name = networkName(instance);
  if ((await namesakes(docker, name, signal)).length === 0) await createNetwork(docker, instance, signal);
  const [network, ...duplicates] = await namesakes(docker, name, signal);
  if (network?.Driver !== 'bridge' || network.Options?.[INTER_CONTAINER_TRAFFIC] !== 'false') {
    throw new EngineError(
      'docker_error',
      `the Docker network ${name} is not isolated (a bridge with ${INTER_CONTAINER_TRAFFIC}=false); remove it and start again`,
    );
  }
  if (network.EnableIPv6) {
    throw new EngineError('docker_error', `the Docker network ${name} has IPv6, which sandboxes must not; remove it`);
  }
  // Daemons before 25 let two processes create two networks of one name. Both keep the oldest, so both keep the same
  // one.
  for (const duplicate of duplicates) await removeQuietly(docker, duplicate.Id);
  return bridgeOf(network, instance);
}

/** @returns null if the network does not exist */
export async function findSandboxNetwork(
  docker: Docker,
  instance: string,
  signal: AbortSignal,
): Promise<SandboxBridge | null> {
  const [network] = await namesakes(docker, networkName(instance), signal);
  return network ? bridgeOf(network, instance) : null;
}

/** Docker's own naming rule for an interface without a configured name. */
function bridgeOf({ Id, Options }: NetworkInspectInfo, instance: string): SandboxBridge {
  return { instance, networkId: Id, bridge: Options?.[BRIDGE_NAME] ?? `br-${Id.slice(0, 12)}` };
}

/** Oldest first. The filter also matches parts of names. */
async function namesakes(docker: Docker, name: string, signal: AbortSignal): Promise<NetworkInspectInfo[]> {
  const networks: unknown = await docker.listNetworks({ filters: { name: [name] }, abortSignal: signal });
  if (!Array.isArray(networks)) throw new EngineError('docker_unavailable', "Docker's list of networks cannot be read");
  return (networks as NetworkInspectInfo[])
    .filter((network) => network.Name === name)
    .sort((a, b) => `${a.Created} ${a.Id}`.localeCompare(`${b.Created} ${b.Id}`));
}

async function createNetwork(docker: Docker, instance: string, signal: AbortSignal): Promise<void> {
  try {
    await docker.createNetwork({
      Name: networkName(instance),
      Driver: 'bridge',
      CheckDuplicate: true,
      // Explicit, as a daemon's configuration can make it the default.
      EnableIPv6: false,
      Options: { [INTER_CONTAINER_TRAFFIC]: 'false' },
      Labels: { [LABELS.managed]: 'true', [LABELS.instance]: instance },
      abortSignal: signal,
    });
  } catch (error) {
    // Another process was faster.
    if (refusalOf(error)?.status !== 409) throw error;
  }
}

/** Already gone, or in use (by a container that has its address there): left alone. */
async function removeQuietly(docker: Docker, id: string): Promise<void> {
  await ignoringRefusal(docker.getNetwork(id).remove());
}

interface Connection {
  readonly instance: string;
  readonly signal: AbortSignal;
  /** To be done for a network before a container joins it. */
  readonly onNetwork: (network: SandboxBridge) => Promise<void>;
}

/**
 * A stopped container remembers its network by id: if the network was removed (`docker network prune`) and recreated,
 * it no longer starts (Docker 26.1: 404 "network … not found"). Attaches it to the network that has the name now.
 */
export async function reattach(
  docker: Docker,
  dockerId: string,
  { instance, signal, onNetwork }: Connection,
): Promise<void> {
  await onNetwork(await ensureSandboxNetwork(docker, instance, signal));
  const network = docker.getNetwork(networkName(instance));
  await ignoringRefusal(network.disconnect(abortable(signal, { Container: dockerId, Force: true })));
  await ignoringRefusal(network.connect(abortable(signal, { Container: dockerId })));
}

/**
 * Reconnects a container to the sandboxes' network. After `docker network disconnect`, Docker starts it without any
 * network. Nothing is disconnected, so several processes may do it at once.
 *
 * @returns null if it was connected, or the inspection
 * @throws Docker's refusal
 */
export async function connectIfMissing(
  docker: Docker,
  dockerId: string,
  { instance, signal, onNetwork }: Connection,
): Promise<{ running: boolean; runtime: string } | null> {
  const name = networkName(instance);
  const answer: unknown = await containerOf(docker, dockerId).inspect({ abortSignal: signal });
  const { connected, ...found } = observedConnection(answer, name);
  if (connected) return null;
  await onNetwork(await ensureSandboxNetwork(docker, instance, signal));
  try {
    await docker.getNetwork(name).connect(abortable(signal, { Container: dockerId }));
  } catch (error) {
    if (!isConnected(error)) throw error;
  }
  return found;
}
