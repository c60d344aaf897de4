import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Duplex } from 'node:stream';
import { Batches, LruMap } from '../../scheduling';
import {
  connectInside,
  EngineError,
  type EnginePorts,
  type ListeningPort,
  listListeningPorts,
  type SandboxChannels,
} from '../../engine';
import type { ContainerRun } from '../model/inspect';

/** How long a container's own address may take to answer. */
const DIAL_MS = 5_000;
/** Containers whose address is remembered; a forgotten one costs a call at the next connection. */
const MOST_CONTAINERS = 10_000;

/** A run, and the address at which it is dialled; null if only the supervisor reaches it. */
interface Reach {
  readonly startedAt: string;
  readonly address: string | null;
}

interface Options {
  readonly channels: SandboxChannels;
  /** Asks Docker. @returns null if there is no such container */
  readonly inspect: (engineId: string) => Promise<ContainerRun | null>;
  /** Whether Docker is reached by a socket of this machine. */
  readonly isLocal: boolean;
}

/**
 * The ports of a daemon's containers. The only addresses that are dialled are those that Docker reports for the
 * container, and loopback addresses inside it.
 */
export class DockerPorts implements EnginePorts {
  private readonly reaches = new LruMap<Reach>(MOST_CONTAINERS);
  private readonly looks = new Batches<null, Reach>();

  constructor(private readonly options: Options) {}

  async connect(engineId: string, port: number): Promise<Duplex> {
    const direct = this.options.isLocal ? await this.dial(engineId, port) : null;
    return direct ?? connectInside(this.options.channels, engineId, port);
  }

  listening(engineId: string): Promise<ListeningPort[]> {
    return listListeningPorts(this.options.channels, engineId);
  }

  /**
   * Dials the container's own address. Addresses are used again: a container that has just stopped may have left its
   * address to another user's. So Docker is asked once more after the connection is open. If the container is still in
   * the same run, the address has been its own all the time.
   *
   * @returns null if the address is not reachable from here, or refuses
   * @throws EngineError if the container does not run
   */
  private async dial(engineId: string, port: number): Promise<Socket | null> {
    let known = this.reaches.get(engineId) ?? (await this.look(engineId));
    for (let isLast = false; known.address !== null; isLast = true) {
      const socket = await dialed({ host: known.address, port });
      if (socket === 'refused') return null;
      const seen = await this.look(engineId).catch((error: unknown) => {
        if (socket !== 'silent') socket.destroy();
        throw error;
      });
      const isSame = seen.startedAt === known.startedAt && seen.address === known.address;
      if (isSame && socket !== 'silent') return socket;
      if (socket !== 'silent') socket.destroy();
      if (isSame) {
        // Not tried again in this run: each attempt would take the whole time.
        this.reaches.set(engineId, { ...seen, address: null });
        return null;
      }
      if (isLast) throw new EngineError('container_not_running', 'the container was started again meanwhile');
      known = seen;
    }
    return null;
  }

  /**
   * Asks Docker for the run. Concurrent callers share one inspection, which begins after each of them has called.
   *
   * @throws EngineError `container_not_found`, `container_not_running`, `container_paused`
   */
  private look(engineId: string): Promise<Reach> {
    return this.looks.add(engineId, null, async () => {
      const run = await this.options.inspect(engineId);
      if (run?.state !== 'running') this.reaches.delete(engineId);
      if (run === null) throw new EngineError('container_not_found', `no such container ${engineId}`);
      if (run.state === 'paused') throw new EngineError('container_paused', 'the container is paused');
      if (run.state !== 'running') throw new EngineError('container_not_running', `the container is ${run.state}`);
      const known = this.reaches.get(engineId);
      // Keeps what is known of an address that does not answer.
      if (known?.address === null && known.startedAt === run.startedAt) return known;
      const reach = { startedAt: run.startedAt, address: addressFromHere(run) };
      this.reaches.set(engineId, reach);
      return reach;
    });
  }
}

/**
 * The container's address if this process shares the network of the container's machine: then the gateway of the
 * container's network is an address of this process too. In a container of its own, or beside a Docker in a virtual
 * machine, the same address might belong to another host.
 */
function addressFromHere({ ipAddress, gateway }: ContainerRun): string | null {
  if (ipAddress === null || gateway === null || ipAddress === gateway) return null;
  const own = ownAddresses();
  return own.has(gateway) && !own.has(ipAddress) ? ipAddress : null;
}

/** How long this process's addresses are remembered: reading them takes as long as a request. */
const OWN_KEPT_MS = 1_000;
let kept: { readonly addresses: ReadonlySet<string>; readonly at: number } | undefined;

function ownAddresses(): ReadonlySet<string> {
  const now = performance.now();
  if (!kept || now - kept.at > OWN_KEPT_MS) {
    const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
    kept = { addresses: new Set(all.map(({ address }) => address)), at: now };
  }
  return kept.addresses;
}

/** @returns `refused` if nothing listens there; `silent` if there is no answer in time, or no way there */
async function dialed({ host, port }: { host: string; port: number }): Promise<Socket | 'refused' | 'silent'> {
  const socket = connect({ host, port, noDelay: true });
  return new Promise((resolve) => {
    const fail = (outcome: 'refused' | 'silent'): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => fail('silent'), DIAL_MS);
    socket.on('error', (error: NodeJS.ErrnoException) =>
      fail(error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET' ? 'refused' : 'silent'),
    );
    socket.once('connect', () => {
      clearTimeout(timer);
      resolve(socket);
    });
  });
}
