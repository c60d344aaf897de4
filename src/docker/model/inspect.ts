import { z } from 'zod';
import { EngineError, type EngineState, type ListedContainer, type ObservedContainer, PROTOCOL } from '../../engine';
import { LABELS } from './labels';

/** Docker shows `dead` for a moment at the end of a removal, and permanently after a failed one. */
const state = z
  .enum(['created', 'running', 'paused', 'restarting', 'exited', 'dead', 'removing'])
  .transform((said): EngineState => (said === 'dead' || said === 'removing' ? 'broken' : said));

const inspection = z.object({
  Id: z.string(),
  Name: z.string(),
  Image: z.string(),
  State: z.object({
    Status: state,
    StartedAt: z.string(),
    ExitCode: z.number(),
    OOMKilled: z.boolean().optional(),
  }),
  HostConfig: z.object({ Runtime: z.string().optional() }),
  NetworkSettings: z.object({
    Networks: z
      .record(z.string(), z.object({ IPAddress: z.string().optional(), Gateway: z.string().optional() }))
      .nullish(),
  }),
});

const listing = z.object({
  Id: z.string(),
  // Null for a partly removed container.
  Names: z.array(z.string()).nullish(),
  State: state,
  Created: z.number(),
  Labels: z.record(z.string(), z.string()).nullish(),
  NetworkSettings: z.object({ Networks: z.record(z.string(), z.unknown()).nullish() }).nullish(),
});

const connection = z.object({
  Config: z.object({ Labels: z.record(z.string(), z.string()).nullish() }).nullish(),
  State: z.object({ Running: z.boolean() }),
  HostConfig: z.object({ Runtime: z.string().optional(), NetworkMode: z.string().optional() }),
  NetworkSettings: z.object({
    Networks: z.record(z.string(), z.object({ NetworkID: z.string().optional() })).nullish(),
  }),
});

/** A listed container with its sandbox network: the present one, or that of the next start; null if there is none. */
export type PlacedContainer = ListedContainer & { readonly network: string | null };

/** A container's network and labels, and what its next start will do. */
interface Connection {
  /** The sandbox network of the container, or that of its next start; null if there is none. */
  readonly network: string | null;
  /** The Docker id of that network, which may have been removed; null until the container has run. */
  readonly networkId: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** Whether the container was created without a network. */
  readonly wantsNone: boolean;
  readonly running: boolean;
  readonly runtime: string;
  /** Whether the main process is a supervisor that this version of Berth can use. */
  readonly supervised: boolean;
}

/** A container's run, as Docker reports it. */
export interface ContainerRun {
  readonly state: string;
  /** Changes if the container is started again. */
  readonly startedAt: string;
  /** The address in the sandboxes' network, and that network's gateway; null without a network. */
  readonly ipAddress: string | null;
  readonly gateway: string | null;
}

/** Docker's name for the network mode without a network. */
export const NO_NETWORK = 'none';

/** Whether a container with these labels has a supervisor that this version of Berth can use. */
export function isSupervised(labels: Readonly<Record<string, string>>): boolean {
  return labels[LABELS.supervisor] === String(PROTOCOL);
}

/** Docker's timestamp for "never". */
const ZERO_TIME = '0001-01-01T00:00:00Z';

/**
 * @param answer Docker's inspection
 * @param isSandboxNetwork whether the container's IP address is the one in a network of this name
 * @throws EngineError `docker_unavailable` if the answer is not an inspection
 */
export function observedContainer(answer: unknown, isSandboxNetwork: (name: string) => boolean): ObservedContainer {
  const { Id, Name, Image, State, HostConfig, NetworkSettings } = isKnownState(inspection, answer);
  const everRan = State.StartedAt !== ZERO_TIME;
  return {
    engineId: Id,
    name: withoutSlash(Name),
    state: State.Status,
    startedAt: everRan ? State.StartedAt : null,
    exitCode: everRan && !isAlive(State.Status) ? State.ExitCode : null,
    oomKilled: State.OOMKilled ?? false,
    ipAddress: nullIfEmpty(networkIn(NetworkSettings.Networks, isSandboxNetwork)?.[1].IPAddress),
    imageId: Image,
    runtime: HostConfig.Runtime ?? '',
  };
}

/**
 * @param answer Docker's inspection
 * @param isSandboxNetwork whether the container's address is the one in a network of this name
 * @throws EngineError `docker_unavailable` if the answer is not an inspection
 */
export function observedRun(answer: unknown, isSandboxNetwork: (name: string) => boolean): ContainerRun {
  const { State, NetworkSettings } = isKnownState(inspection, answer);
  const network = networkIn(NetworkSettings.Networks, isSandboxNetwork)?.[1];
  return {
    state: State.Status,
    startedAt: State.StartedAt,
    ipAddress: nullIfEmpty(network?.IPAddress),
    gateway: nullIfEmpty(network?.Gateway),
  };
}

/**
 * @param answer Docker's inspection
 * @param isSandboxNetwork whether a network of this name is a sandbox network for a container with these labels
 * @throws EngineError `docker_unavailable` if the answer is not an inspection
 */
export function observedConnection(
  answer: unknown,
  isSandboxNetwork: (name: string, labels: Connection['labels']) => boolean,
): Connection {
  const { Config, State, HostConfig, NetworkSettings } = isKnownState(connection, answer);
  const labels = Config?.Labels ?? {};
  const isOne = (name: string): boolean => isSandboxNetwork(name, labels);
  const [network, endpoint] = networkIn(NetworkSettings.Networks, isOne) ?? [null, null];
  return {
    network,
    networkId: nullIfEmpty(endpoint?.NetworkID),
    labels,
    wantsNone: HostConfig.NetworkMode === NO_NETWORK,
    running: State.Running,
    runtime: HostConfig.Runtime ?? '',
    supervised: isSupervised(labels),
  };
}

/**
 * @param answer an entry of Docker's list
 * @param isSandboxNetwork whether a network of this name is a sandbox network
 * @throws EngineError `docker_unavailable` if the answer is not such an entry
 */
export function parseListedContainer(answer: unknown, isSandboxNetwork: (name: string) => boolean): PlacedContainer {
  const entry = isKnownState(listing, answer);
  const networks = entry.NetworkSettings?.Networks;
  const network = networkIn(networks, isSandboxNetwork)?.[0] ?? null;
  return {
    engineId: entry.Id,
    name: withoutSlash(entry.Names?.[0] ?? ''),
    state: entry.State,
    createdAt: new Date(entry.Created * 1000),
    containerId: nullIfEmpty(entry.Labels?.[LABELS.containerId]),
    generation: generationOf(entry.Labels?.[LABELS.generation]),
    // If the list shows no networks, the container counts as connected.
    connected: !networks || network !== null || networks[NO_NETWORK] !== undefined,
    network,
  };
}

/** The first sandbox network among the container's networks, with its name. */
function networkIn<T>(
  networks: Readonly<Record<string, T>> | null | undefined,
  isSandboxNetwork: (name: string) => boolean,
): readonly [string, T] | undefined {
  return Object.entries(networks ?? {}).find(([name]) => isSandboxNetwork(name));
}

function isAlive(state: EngineState): boolean {
  return state === 'running' || state === 'paused';
}

/** Docker writes the address of a stopped container as an empty string. */
function nullIfEmpty(text: string | undefined): string | null {
  return text === undefined || text === '' ? null : text;
}

function withoutSlash(name: string): string {
  return name.replace(/^\//, '');
}

function generationOf(label: string | undefined): number | null {
  return label !== undefined && /^\d{1,9}$/.test(label) ? Number(label) : null;
}

/**
 * Parses Docker's answer. An unreadable answer counts as none: docker-modem returns bytes if it expected JSON and got
 * none.
 *
 * @throws EngineError `docker_unavailable`
 */
export function isKnownState<T>(schema: z.ZodType<T>, answer: unknown): T {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new EngineError('docker_unavailable', `Docker's answer cannot be read: ${z.prettifyError(parsed.error)}`);
}
