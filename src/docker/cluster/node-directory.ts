import { Logger } from '@nestjs/common';
import { Mutex } from 'async-mutex';
import type Docker from 'dockerode';
import { z } from 'zod';
import { ConfigError } from '../../config';
import { EngineError, type EngineNode } from '../../engine';
import {
  abortable,
  boundedCall,
  type ClientCertificate,
  connectDocker,
  type DockerClients,
} from '../connection/client';

/** Time limit of a manager's answer. A manager that has lost the others answers only after 20 s, with an error. */
const ANSWER_MS = 5_000;

/** The properties of a node that Swarm reports; the others come from the node's own engine. */
export type SwarmNode = Omit<EngineNode, 'isReachable' | 'problem'>;

const MIB = 1024 * 1024;
/** The largest value of the database column. */
const LAST_VERSION = 2 ** 31 - 1;
const DEFAULT_POOL = 'default';

/** Labels of a node that Berth reads. This one names the node's pool. */
const POOL = 'berth.pool';
/** The label with the address of the node's engine, if it differs from the one that Swarm knows. */
const ENGINE = 'berth.engine';
/** The labels that limit what Berth may use of the node: CPUs, and MiB of memory. */
const CPUS = 'berth.cpus';
const MEMORY = 'berth.memory';

const amount = z.coerce.number().positive();

const swarmNode = z.object({
  ID: z.string().min(1).max(60),
  Version: z.object({ Index: z.number() }),
  Spec: z.object({
    Labels: z.record(z.string(), z.string()).nullish(),
    Role: z.string(),
    Availability: z.enum(['active', 'pause', 'drain']),
  }),
  Description: z.object({
    Hostname: z.string(),
    Resources: z.object({ NanoCPUs: z.number().optional(), MemoryBytes: z.number().optional() }).nullish(),
  }),
  Status: z.object({ State: z.string(), Addr: z.string() }),
});

const swarm = z.object({ ID: z.string().min(1) });

const OUT_OF_SEQUENCE = 'out of sequence';

interface Manager {
  readonly host: string;
  readonly clients: DockerClients;
}

/**
 * The nodes of a Docker Swarm, as its managers report them. Managers are asked in turn, each with a time limit. While
 * none answers, the last answer stays valid.
 */
export class NodeDirectory {
  private readonly logger = new Logger(NodeDirectory.name);
  private readonly managers: Manager[];
  private known: readonly SwarmNode[] | null = null;
  private swarmId: string | null = null;
  private isSilent = false;
  private readonly turn = new Mutex();

  constructor(hosts: readonly string[], tls: ClientCertificate) {
    this.managers = hosts.map((host) => ({ host, clients: connectDocker(host, { timeoutMs: ANSWER_MS, tls }) }));
  }

  /** The nodes of the last answer; null before the first one. */
  get nodes(): readonly SwarmNode[] | null {
    return this.known;
  }

  /** The id of the Swarm; null until a manager has answered. */
  get id(): string | null {
    return this.swarmId;
  }

  /** Sets what an earlier process knew, for the time until a manager answers this one. */
  remember(swarmId: string, nodes: readonly SwarmNode[]): void {
    this.swarmId ??= swarmId;
    this.known ??= nodes;
  }

  /**
   * Asks the managers for the nodes. Waits for an earlier refresh first, so that a late answer never replaces a newer
   * one.
   *
   * @returns whether a manager answered
   * @throws ConfigError with the fault of each manager if none has ever answered
   */
  async refresh(): Promise<boolean> {
    return this.turn.runExclusive(() => this.askInTurn());
  }

  private async askInTurn(): Promise<boolean> {
    const faults: string[] = [];
    for (const manager of [...this.managers]) {
      try {
        await this.ask(manager);
        if (this.isSilent) this.logger.log('a manager of the Swarm answers again');
        this.isSilent = false;
        return true;
      } catch (error) {
        faults.push(`  ${manager.host}: ${explain(error)}`);
        // A manager that did not answer is asked last the next time.
        this.managers.push(...this.managers.splice(this.managers.indexOf(manager), 1));
      }
    }
    if (this.known === null) {
      throw new ConfigError(`CLUSTER_MANAGERS: no manager of a Swarm can be used:\n${faults.join('\n')}`);
    }
    if (!this.isSilent) {
      this.logger.error(`no manager of the Swarm answers; the nodes are taken as they were:\n${faults.join('\n')}`);
    }
    this.isSilent = true;
    return false;
  }

  /**
   * Sets a node's availability. {@link nodes} shows it after the next {@link refresh}.
   *
   * @throws EngineError `docker_unavailable` if no manager can decide it, `docker_error` if there is no such node
   */
  async setAvailability(id: string, availability: 'active' | 'drain'): Promise<void> {
    const faults: string[] = [];
    for (const { host, clients } of this.managers) {
      try {
        await boundedCall(ANSWER_MS, (signal) => decide(clients.calls.getNode(id), { availability, signal }));
        return;
      } catch (error) {
        if ((error as { statusCode?: unknown }).statusCode === 404)
          throw new EngineError('docker_error', `the Swarm has no node ${id}`);
        faults.push(`${host}: ${explain(error)}`);
      }
    }
    throw new EngineError('docker_unavailable', `no manager of the Swarm decides: ${faults.join('; ')}`);
  }

  close(): void {
    for (const { clients } of this.managers) clients.close();
  }

  private async ask({ clients }: Manager): Promise<void> {
    const { id, nodes } = await boundedCall(ANSWER_MS, async (signal) => {
      const listed: unknown = await list(clients.calls, signal);
      const { ID } = swarm.parse(await clients.calls.swarmInspect());
      return { id: ID, nodes: z.array(swarmNode).parse(listed) };
    });
    if (this.swarmId !== null && id !== this.swarmId) throw new Error('it belongs to another Swarm');
    this.swarmId = id;
    this.known = nodes.map((node) => this.read(node));
  }

  private read(node: z.infer<typeof swarmNode>): SwarmNode {
    const labels = node.Spec.Labels ?? {};
    const { NanoCPUs, MemoryBytes } = node.Description.Resources ?? {};
    const cpus = amount.safeParse(labels[CPUS]);
    const memory = amount.safeParse(labels[MEMORY]);
    // For some seconds after a change of the leader, the state of all nodes is unknown.
    const before = this.known?.find(({ id }) => id === node.ID)?.state ?? 'unknown';
    const { State, Addr } = node.Status;
    return {
      id: node.ID,
      name: node.Description.Hostname,
      address: labels[ENGINE] ?? `tcp://${Addr.includes(':') ? `[${Addr}]` : Addr}:2376`,
      pool: labels[POOL] ?? DEFAULT_POOL,
      labels,
      state: State === 'ready' || State === 'down' ? State : before,
      availability: node.Spec.Availability,
      isManager: node.Spec.Role === 'manager',
      version: Math.min(node.Version.Index, LAST_VERSION),
      memoryMb: memory.success
        ? Math.floor(memory.data)
        : MemoryBytes === undefined
          ? null
          : Math.floor(MemoryBytes / MIB),
      cpuShares: cpus.success
        ? Math.floor(cpus.data * 1000)
        : NanoCPUs === undefined
          ? null
          : Math.floor(NanoCPUs / 1e6),
    };
  }
}

/**
 * Writes the availability even if the manager already reports it: only a write is decided by a majority of the
 * managers, and a new leader may not know the last decision yet.
 */
async function decide(
  node: Docker.Node,
  { availability, signal }: { availability: 'active' | 'drain'; signal: AbortSignal },
): Promise<void> {
  for (;;) {
    const answer: unknown = await node.inspect(abortable(signal, {}));
    const { Version } = swarmNode.parse(answer);
    const body = Object.assign({}, (answer as { Spec: object }).Spec, { Availability: availability });
    try {
      await node.update(abortable(signal, { _query: { version: Version.Index }, _body: body }));
      return;
    } catch (error) {
      // Another writer, such as Swarm itself, was faster.
      if (!String((error as { message?: unknown }).message).includes(OUT_OF_SEQUENCE)) throw error;
    }
  }
}

function list(docker: Docker, signal: AbortSignal): Promise<unknown> {
  return docker.listNodes(abortable(signal, {}));
}

const REFUSALS: readonly (readonly [RegExp, string])[] = [
  [
    /CERT_|SELF_SIGNED|UNABLE_TO_(VERIFY|GET)|certificate has expired|ERR_TLS_CERT_ALTNAME/i,
    'its certificate is not one of the CA in CLUSTER_CERT_PATH, or for another address',
  ],
  [
    /alert|ECONNRESET.*tls|tlsv1|bad certificate|certificate required|EPROTO/i,
    'it does not accept the client certificate in CLUSTER_CERT_PATH',
  ],
  [/ECONNREFUSED/, 'nothing listens there'],
  [/ENOTFOUND|EAI_AGAIN/, 'there is no such host'],
  // Before the next entry: dockerode (5.0) reports every 503 as "not part of a swarm".
  [/does not have a leader/i, 'it has lost the other managers'],
  [/not a swarm manager|not part of a swarm/i, 'it is no manager of a Swarm'],
];

/** Explains why a manager or node cannot be used, so that an operator can act on it. */
export function explain(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  const cause = error instanceof Error && error.cause instanceof Error ? ` ${explainable(error.cause)}` : '';
  const text = `${typeof code === 'string' ? code : ''} ${String(message ?? error)}${cause}`.trim();
  return REFUSALS.find(([pattern]) => pattern.test(text))?.[1] ?? text;
}

function explainable(error: Error): string {
  const { code } = error as { code?: unknown };
  return `${typeof code === 'string' ? code : ''} ${error.message}`;
}
