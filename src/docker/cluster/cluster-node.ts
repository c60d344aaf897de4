import { Logger } from '@nestjs/common';
import { setTimeout as pause } from 'node:timers/promises';
import { ConfigError } from '../../config';
import { untilAborted, within } from '../../scheduling';
import { EngineError, type EngineNode, nodeUnavailable, saysUnavailable } from '../../engine';
import type { DockerEngine } from '../docker-engine';
import type { ClusterMember } from './cluster-members';
import { explain, type SwarmNode } from './node-directory';

/**
 * `pingEveryMs` and `pingMs` together are less than the five seconds within which a request on a node that was cut
 * off is answered.
 */
const TIMING = { pingEveryMs: 1_000, pingMs: 3_500, retryEveryMs: 1_000, maintainMs: 3_000 };

/** The largest clock difference with which tokens, events and grace periods still work. */
const MOST_SKEW_MS = 30_000;

/**
 * One node: its engine, and whether the engine answers. A call to a silent node fails at once. When a node falls
 * silent, its pending calls fail.
 */
export class ClusterNode implements ClusterMember {
  private readonly logger = new Logger(ClusterNode.name);
  private readonly stopped = new AbortController();
  /** Aborted when the node falls silent; null while it is silent. */
  private lost: AbortController | null = null;
  private prepared = false;
  private landmark: string | null = null;
  private fault: string | null = null;
  private said: string | null = null;
  private running: Promise<void> | null = null;

  /**
   * @param options.onReachable called when the node answers, for the first time or again; events in between are unknown
   * @param options.timing which tests shorten
   */
  constructor(
    private swarm: SwarmNode,
    readonly engine: DockerEngine,
    private readonly options: { onReachable: (node: ClusterNode) => void; timing?: Readonly<typeof TIMING> },
  ) {}

  get id(): string {
    return this.swarm.id;
  }

  get name(): string {
    return this.swarm.name;
  }

  get address(): string {
    return this.swarm.address;
  }

  get isReachable(): boolean {
    return this.lost !== null;
  }

  /** Whether sandboxes can be on this node: it has been prepared, even if it does not answer now. */
  get isPrepared(): boolean {
    return this.prepared;
  }

  /** Aborted when the node falls silent. */
  get signal(): AbortSignal {
    return this.lost?.signal ?? AbortSignal.abort();
  }

  view(): EngineNode {
    return { ...this.swarm, isReachable: this.isReachable, problem: this.fault };
  }

  /** Updates what Swarm reports about the node. */
  note(swarm: SwarmNode): void {
    this.swarm = swarm;
  }

  /**
   * Connects, then pings the node until {@link stop}.
   *
   * @param instance, process what the engine is prepared for
   * @returns once the node answers or the first attempt has failed
   */
  async start(instance: string, process: string): Promise<void> {
    await this.connect(instance, process);
    this.running = this.keep(instance, process);
  }

  async stop(): Promise<void> {
    this.stopped.abort();
    this.lose(null);
    this.engine.onApplicationShutdown();
    await this.running;
  }

  /** @throws EngineError `node_unavailable`; the errors of the call */
  async call<T>(work: (engine: DockerEngine) => Promise<T>): Promise<T> {
    const { lost } = this;
    if (lost === null) throw this.unavailable();
    try {
      return await untilAborted(work(this.engine), { signal: lost.signal, aborted: () => this.unavailable() });
    } catch (error) {
      // In a call to two nodes, the error of the other one names that node already.
      const isNamed = error instanceof EngineError && error.code === 'node_unavailable';
      throw saysUnavailable(error) && !isNamed ? this.unavailable(error) : error;
    }
  }

  /**
   * Waits for `work` on this node, at most until the node falls silent; without a limit if it is silent already.
   *
   * @throws EngineError `node_unavailable`; the errors of `work`
   */
  async whileReachable<T>(work: Promise<T>): Promise<T> {
    return untilAborted(work, { signal: this.lost?.signal, aborted: () => this.unavailable() });
  }

  private get timing(): Readonly<typeof TIMING> {
    return this.options.timing ?? TIMING;
  }

  private unavailable(cause?: unknown): EngineError {
    return nodeUnavailable(this.name, cause);
  }

  /** Pings the node, or tries to connect to it, until it is stopped. */
  private async keep(instance: string, process: string): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      const every = this.isReachable ? this.timing.pingEveryMs : this.timing.retryEveryMs;
      await pause(every, undefined, { signal, ref: false }).catch(() => undefined);
      if (isAborted(signal)) return;
      if (this.isReachable) await this.ask();
      else await this.connect(instance, process);
    }
  }

  /**
   * A ping may be late on a busy node. If other calls were answered meanwhile, a second one decides. It ends as long
   * after the last answer as a node that was cut off then takes to be noticed.
   */
  private async ask(): Promise<void> {
    const { daemon } = this.engine;
    const { pingMs, pingEveryMs } = this.timing;
    const began = performance.now();
    try {
      await daemon.look(pingMs).catch(async (error: unknown) => {
        if (daemon.answeredAt < began) throw error;
        await daemon.look(Math.max(daemon.answeredAt + pingEveryMs + pingMs - performance.now(), pingEveryMs));
      });
    } catch (error) {
      this.lose(error);
    }
  }

  private async connect(instance: string, process: string): Promise<void> {
    try {
      const clock = await this.engine.daemon.look(this.timing.pingMs);
      const skewMs = clock.getTime() - Date.now();
      await this.assertSame();
      if (this.prepared) await this.maintainSoon();
      else await this.engine.host.prepare(instance, process);
      this.prepared = true;
      this.landmark ??= await this.engine.host.landmark(instance);
      const isOff = Math.abs(skewMs) > MOST_SKEW_MS;
      this.noteFault(isOff ? `its clock is ${String(Math.round(skewMs / 1000))} s off this machine's` : null);
      this.lost = new AbortController();
      this.logger.log(`the node ${this.name} answers`);
      this.options.onReachable(this);
    } catch (error) {
      this.noteFault(explain(error));
      // The next attempt would use connections that hang.
      this.engine.daemon.close();
    }
  }

  /**
   * Verifies the node: another machine may have its address, or its data folder may be another.
   *
   * @throws ConfigError, EngineError
   */
  private async assertSame(): Promise<void> {
    if (this.landmark !== null && (await this.engine.host.hasLandmark(this.landmark))) return;
    this.landmark = null;
    const id = await this.engine.daemon.swarmNodeId();
    if (id !== this.id) throw new ConfigError(`the Docker at ${this.address} is ${id ?? 'in no Swarm'}, not this node`);
  }

  /**
   * Restores the firewall, which a reboot removes. Slow work, as on a manager without the other managers, continues
   * in the background.
   */
  private async maintainSoon(): Promise<void> {
    const maintaining = this.engine.host.maintain();
    maintaining.catch((error: unknown) =>
      this.logger.warn(`the node ${this.name} is not maintained: ${explain(error)}`),
    );
    await within(maintaining, { ms: this.timing.maintainMs }).catch(() => undefined);
  }

  private lose(error: unknown): void {
    const { lost } = this;
    if (lost === null) return;
    this.lost = null;
    if (!this.stopped.signal.aborted) {
      this.logger.error(`the node ${this.name} does not answer any more: ${explain(error)}`);
    }
    lost.abort();
    this.engine.daemon.close();
  }

  /** Logs a fault once, until it changes. */
  private noteFault(fault: string | null): void {
    this.fault = fault;
    if (fault === this.said) return;
    this.said = fault;
    if (fault !== null) this.logger.error(`the node ${this.name} (${this.address}) cannot be used: ${fault}`);
  }
}

/** A function, because the compiler assumes that a property does not change during an `await`. */
const isAborted = (signal: AbortSignal): boolean => signal.aborted;
