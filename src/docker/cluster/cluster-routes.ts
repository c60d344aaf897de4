import { Semaphore } from 'async-mutex';
import { within } from '../../scheduling';
import {
  type ContainerEngine,
  EngineError,
  type EngineErrorCode,
  type EngineFiles,
  type FilesCall,
  type Listed,
  nodeOf,
  plainId,
} from '../../engine';
import type { TransferringEngine } from '../volumes/volume-transfer';
import type { ClusterMember, ClusterMembers } from './cluster-members';

/** Time limit of one node's list: a slower node does not delay the lists of the others. */
const LIST_MS = 5_000;

/**
 * How many nodes list at once. If a hundred lists of a megabyte each were read side by side, it would take seconds:
 * no list would be complete in time, and pings would be processed so late that nodes seem silent.
 */
const LISTS_AT_ONCE = 4;

const FILE_METHODS = [
  'stat',
  'open',
  'write',
  'list',
  'makeDirectory',
  'move',
  'remove',
  'pack',
  'unpack',
  'create',
  'readPart',
  'writePart',
  'truncate',
  'change',
  'readLink',
  'makeLink',
  'resolve',
  'space',
  'search',
  'usage',
  'watch',
] as const;

/** A part of the port, such as `containers`. */
type Part = keyof ContainerEngine;
/** Any method of a part. Its name, arguments and result are checked where the part is composed. */
type Method = (...args: readonly unknown[]) => Promise<unknown>;

/** Finds the nodes that a call concerns, and calls them. */
export class ClusterRoutes {
  private readonly listing = new Semaphore(LISTS_AT_ONCE);

  constructor(private readonly members: ClusterMembers) {}

  /** The methods of a part whose first argument is a container's id; each call goes to the container's node. */
  byContainer<P extends Part, M extends keyof ContainerEngine[P]>(
    part: P,
    methods: readonly M[],
  ): Pick<ContainerEngine[P], M> {
    return routed(
      part,
      methods,
      (call) =>
        (engineId, ...rest) =>
          this.at(String(engineId), (engine, id) => call(engine, [id, ...rest])),
    );
  }

  /** The files of containers; each call goes to the container's node. */
  files(): EngineFiles {
    return routed('files', FILE_METHODS, (call) => (asked, ...rest) => {
      const inside = asked as FilesCall;
      return this.at(inside.engineId, (engine, engineId) => call(engine, [{ ...inside, engineId }, ...rest]));
    });
  }

  /** The methods of a part whose first argument names a node; each call goes to this node. */
  byNode<P extends Part, M extends keyof ContainerEngine[P]>(
    part: P,
    methods: readonly M[],
  ): Pick<ContainerEngine[P], M> {
    return routed(
      part,
      methods,
      (call) =>
        (subject, ...rest) =>
          this.on((subject as { node?: string | null }).node, (engine) => call(engine, [subject, ...rest])),
    );
  }

  reachable(): ClusterMember[] {
    return this.members.all().filter((node) => node.isReachable);
  }

  /** @throws EngineError `docker_unavailable` if no node is reachable */
  anyone(): ClusterMember {
    const [first] = this.reachable();
    if (!first) throw new EngineError('docker_unavailable', 'no node answers');
    return first;
  }

  /**
   * @throws EngineError `node_unavailable` if the node is no longer a member (it may become one again);
   *   `docker_error` if no node is named
   */
  member(id: string | null | undefined): ClusterMember {
    const node = id == null ? undefined : this.members.find(id);
    if (node) return node;
    const code: EngineErrorCode = id == null ? 'docker_error' : 'node_unavailable';
    throw new EngineError(code, id == null ? 'no node was named' : `the Swarm has no node ${id}`);
  }

  /**
   * Runs `work` on the node of a container.
   *
   * @throws EngineError `container_not_found` if the id names no node: the container was on a single Docker before,
   *   and is on none of these nodes
   */
  async at<T>(
    engineId: string,
    work: (engine: ContainerEngine, id: string, node: ClusterMember) => Promise<T>,
  ): Promise<T> {
    const node = nodeOf(engineId);
    if (node === null) throw new EngineError('container_not_found', 'the container is on no node');
    const member = this.member(node);
    return member.call((engine) => work(engine, plainId(engineId), member));
  }

  /** Async, so that an unknown node becomes a rejection instead of an exception. */
  async on<T>(node: string | null | undefined, work: (engine: TransferringEngine) => Promise<T>): Promise<T> {
    return this.member(node).call(work);
  }

  /** Runs `work` with two nodes. If one of them falls silent, the work at the other ends too, by the signal. */
  async between<T>(
    { node, toNode, signal }: { node?: string | null; toNode?: string | null; signal?: AbortSignal },
    work: (source: TransferringEngine, target: TransferringEngine, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const [from, to] = [this.member(node), this.member(toNode)];
    const either = AbortSignal.any([from.signal, to.signal, ...(signal ? [signal] : [])]);
    return from.call((source) => to.call((target) => work(source, target, either)));
  }

  /** Runs `work` on all reachable nodes. @throws EngineError `docker_unavailable` if there are none */
  async onAll<T>(
    work: (engine: ContainerEngine) => Promise<T>,
    isMeant: (node: ClusterMember) => boolean = () => true,
  ): Promise<[T, ...T[]]> {
    const [first, ...others] = await Promise.all(
      this.reachable()
        .filter(isMeant)
        .map(async (node) => ({ result: await node.call(work) })),
    );
    if (!first) throw new EngineError('docker_unavailable', 'no node answers');
    return [first.result, ...others.map(({ result }) => result)];
  }

  /** Lists one node, which must answer, or all nodes, of which some may be silent. */
  async list<T>(
    only: string | null | undefined,
    { list, own }: { list: (engine: ContainerEngine) => Promise<Listed<T>>; own: (item: T, node: string) => T },
  ): Promise<Listed<T>> {
    const ofNode = async (node: ClusterMember): Promise<readonly T[]> => {
      const late = (): EngineError => new EngineError('node_unavailable', `the node ${node.name} did not list in time`);
      const { items } = await within(node.call(list), { ms: LIST_MS, late });
      return items.map((item) => own(item, node.id));
    };
    if (only != null) return { items: await ofNode(this.member(only)), silent: [] };
    const silent: string[] = [];
    const lists = await Promise.all(
      this.members.all().map((node) =>
        this.listing
          .runExclusive(() => ofNode(node))
          .catch((error: unknown) => {
            if (!(error instanceof EngineError)) throw error;
            silent.push(node.id);
            return [];
          }),
      ),
    );
    return { items: lists.flat(), silent };
  }
}

/** @param route makes a method of the cluster from the call of this method on one node's engine */
function routed<P extends Part, M extends keyof ContainerEngine[P]>(
  part: P,
  methods: readonly M[],
  route: (call: (engine: ContainerEngine, args: readonly unknown[]) => Promise<unknown>) => Method,
): Pick<ContainerEngine[P], M> {
  const routes = methods.map((method) => {
    const call = (engine: ContainerEngine, args: readonly unknown[]): Promise<unknown> =>
      (engine[part] as Record<M, Method>)[method](...args);
    return [method, route(call)];
  });
  return Object.fromEntries(routes) as Pick<ContainerEngine[P], M>;
}
