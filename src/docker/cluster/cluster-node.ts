import { Logger } from '@nestjs/common';
import { setTimeout as pause } from 'node:timers/promises';
import { ConfigError } from '../../config';
import { untilAborted, within } from '../../scheduling';
import type { EngineNode } from '../container-engine';
import type { DockerEngine } from '../docker-engine';
import { EngineError, nodeUnavailable, saysUnavailable } from '../engine-error';
import type { ClusterMember } from './cluster-members';
import { explain, type SwarmNode } from './node-directory';

/** Together less than the five seconds within which a request on a machine that was cut off is answered. */
const TIMING = { pingEveryMs: 1_000, pingMs: 3_500, retryEveryMs: 1_000, maintainMs: 3_000 } as const;

/** As far as a clock may be off before tokens, events and graces go wrong. */
const MOST_SKEW_MS = 30_000;

/**
 * One machine: its engine, and whether that answers. What is asked of a machine that does not fails at once, and what
 * it was asked before it fell silent fails then.
 */
export class ClusterNode implements ClusterMember {
  private readonly logger = new Logger(ClusterNode.name);
  private readonly stopped = new AbortController();
  /** Aborted when it falls silent; null while it is. */
  private lost: AbortController | null = null;
  private prepared = false;
  private landmark: string | null = null;
  private fault: string | null = null;
  private said: string | null = null;
  private running: Promise<void> | null = null;

  /** @param onReachable called when it answers, for the first time or again: what happened meanwhile is not known */
  constructor(
    private swarm: SwarmNode,
    readonly engine: DockerEngine,
    private readonly onReachable: (node: ClusterNode) => void,
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

  /** Whether sandboxes can be on it: it has been prepared, whether it answers now or not. */
  get isPrepared(): boolean {
    return this.prepared;
  }

  /** Ends it when it falls silent. */
  get signal(): AbortSignal {
    return this.lost?.signal ?? AbortSignal.abort();
  }

  view(): EngineNode {
    return { ...this.swarm, isReachable: this.isReachable, problem: this.fault };
  }

  /** What Swarm says of it now. */
  note(swarm: SwarmNode): void {
    this.swarm = swarm;
  }

  /**
   * Connects, and goes on to ask whether it answers.
   *
   * @param instance what its engine is prepared for
   * @returns when it answers, or the first attempt failed
   */
  async start(instance: string): Promise<void> {
    await this.connect(instance);
    this.running = this.keep(instance);
  }

  async stop(): Promise<void> {
    this.stopped.abort();
    this.lose(null);
    this.engine.onApplicationShutdown();
    await this.running;
  }

  /** @throws EngineError `node_unavailable`, and whatever the call throws */
  async call<T>(work: (engine: DockerEngine) => Promise<T>): Promise<T> {
    const { lost } = this;
    if (lost === null) throw this.unavailable();
    try {
      return await untilAborted(work(this.engine), { signal: lost.signal, aborted: () => this.unavailable() });
    } catch (error) {
      // Another's, of what is asked of two, says which one it is.
      const isNamed = error instanceof EngineError && error.code === 'node_unavailable';
      throw saysUnavailable(error) && !isNamed ? this.unavailable(error) : error;
    }
  }

  /** Waits for what it does, at most until it falls silent. */
  async whileReachable<T>(work: Promise<T>): Promise<T> {
    return untilAborted(work, { signal: this.lost?.signal, aborted: () => this.unavailable() });
  }

  private unavailable(cause?: unknown): EngineError {
    return nodeUnavailable(this.name, cause);
  }

  /** Asks it again and again, until it is stopped. */
  private async keep(instance: string): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      const every = this.isReachable ? TIMING.pingEveryMs : TIMING.retryEveryMs;
      await pause(every, undefined, { signal, ref: false }).catch(() => undefined);
      if (isAborted(signal)) return;
      if (this.isReachable) await this.ask();
      else await this.connect(instance);
    }
  }

  private async ask(): Promise<void> {
    try {
      await this.engine.look(TIMING.pingMs);
    } catch (error) {
      this.lose(error);
    }
  }

  private async connect(instance: string): Promise<void> {
    try {
      const { skewMs } = await this.engine.look(TIMING.pingMs);
      await this.assertSame();
      if (this.prepared) await this.maintainSoon();
      else await this.engine.prepare(instance);
      this.prepared = true;
      this.landmark ??= await this.engine.landmark(instance);
      const isOff = Math.abs(skewMs) > MOST_SKEW_MS;
      this.noteFault(isOff ? `its clock is ${String(Math.round(skewMs / 1000))} s off this machine's` : null);
      this.lost = new AbortController();
      this.logger.log(`the node ${this.name} answers`);
      this.onReachable(this);
    } catch (error) {
      this.noteFault(explain(error));
      // Connections that hang would be used by the next attempt.
      this.engine.disconnect();
    }
  }

  /** Another machine may have got its address, or this one another data folder. @throws ConfigError, EngineError */
  private async assertSame(): Promise<void> {
    if (this.landmark !== null && (await this.engine.hasLandmark(this.landmark))) return;
    this.landmark = null;
    const id = await this.engine.swarmNodeId();
    if (id !== this.id) throw new ConfigError(`the Docker at ${this.address} is ${id ?? 'in no Swarm'}, not this node`);
  }

  /** A machine that booted has lost its firewall. What takes long, as on a manager without the others, goes on. */
  private async maintainSoon(): Promise<void> {
    const maintaining = this.engine.maintain();
    maintaining.catch((error: unknown) =>
      this.logger.warn(`the node ${this.name} is not maintained: ${explain(error)}`),
    );
    await within(maintaining, { ms: TIMING.maintainMs }).catch(() => undefined);
  }

  private lose(error: unknown): void {
    const { lost } = this;
    if (lost === null) return;
    this.lost = null;
    if (!this.stopped.signal.aborted) {
      this.logger.error(`the node ${this.name} does not answer any more: ${explain(error)}`);
    }
    lost.abort();
    this.engine.disconnect();
  }

  /** Each once, until it is another. */
  private noteFault(fault: string | null): void {
    this.fault = fault;
    if (fault === this.said) return;
    this.said = fault;
    if (fault !== null) this.logger.error(`the node ${this.name} (${this.address}) cannot be used: ${fault}`);
  }
}

/** A function, as the compiler assumes that a property is unchanged by an `await`. */
const isAborted = (signal: AbortSignal): boolean => signal.aborted;
