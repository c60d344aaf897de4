import { Logger } from '@nestjs/common';
import { Mutex } from 'async-mutex';
import type Docker from 'dockerode';
import { z } from 'zod';
import { ConfigError } from '../../config';
import {
  abortable,
  boundedCall,
  type ClientCertificate,
  connectDocker,
  type DockerClients,
} from '../connection/client';
import type { EngineNode } from '../container-engine';
import { EngineError } from '../engine-error';

/** A manager that has lost the others answers after 20 s, with an error. */
const ANSWER_MS = 5_000;

/** What Swarm says of a node; everything else that is known of it is its own engine's to say. */
export type SwarmNode = Omit<EngineNode, 'isReachable' | 'problem'>;

const MIB = 1024 * 1024;
/** As far as a column of the database counts. */
const LAST_VERSION = 2 ** 31 - 1;
const DEFAULT_POOL = 'default';

/** Labels of a node that Berth reads. */
const POOL = 'berth.pool';
/** Where its engine is, if not on the address that Swarm knows. */
const ENGINE = 'berth.engine';
/** How much of it Berth may use, if not all: CPUs, and MiB of memory. */
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
 * The nodes of a Docker Swarm, as its managers tell them: asked in turn, each for a bounded time. While none answers
 * the last answer stands.
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

  /** As last answered; null: never. */
  get nodes(): readonly SwarmNode[] | null {
    return this.known;
  }

  /** Of the Swarm; null until a manager has answered. */
  get id(): string | null {
    return this.swarmId;
  }

  /** Whether the last time a manager answered. */
  get isAnswered(): boolean {
    return !this.isSilent && this.known !== null;
  }

  /** What an earlier process was told, until a manager answers this one. */
  remember(swarmId: string, nodes: readonly SwarmNode[]): void {
    this.swarmId ??= swarmId;
    this.known ??= nodes;
  }

  /**
   * Asks the managers: what is known is then as of now, as an earlier answer that comes late is waited for.
   *
   * @returns whether one answered
   * @throws ConfigError that says of each what is wrong with it, if none ever has
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
        // Whoever does not answer is asked last the next time.
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
   * The nodes tell it after the next {@link refresh}.
   *
   * @throws EngineError `docker_unavailable` if no manager decides it, `docker_error` without such a node
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
    // When the leader changes, all nodes are unknown for some seconds.
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
 * Writes it also where it is said to be so: only what is written is decided by most of the managers, and one that has
 * just become their leader may not know yet what was decided before.
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
      // Somebody else, such as Swarm itself, was faster.
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
  // Before the next: dockerode (5.0) says of any 503 that the node is not part of a swarm.
  [/does not have a leader/i, 'it has lost the other managers'],
  [/not a swarm manager|not part of a swarm/i, 'it is no manager of a Swarm'],
];

/** What an operator can do about a manager or node that cannot be used. */
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
