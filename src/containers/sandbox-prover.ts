import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../config';
import { ProcessPresence } from '../database';
import { ContainerEngine, EngineIdentity, PROOF_CHECKS, type ProofReport, proveSandbox } from '../engine';
import { ImageCatalog } from '../images';
import { LOGGER } from '../logging';
import { Instance } from './rows/instance';

/**
 * The delay before an unsuccessful proof is repeated, so that a fault which an operator has corrected clears without
 * a restart.
 */
const AGAIN_AFTER_MS = 10 * 60_000;

/** Proves at start, in the background, that sandboxes behave as promised. The result is for operators. */
@Injectable()
export class SandboxProver implements OnModuleDestroy {
  private readonly stopped = new AbortController();
  private proving: Promise<void> = Promise.resolve();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly engine: ContainerEngine,
    private readonly identity: EngineIdentity,
    private readonly catalog: ImageCatalog,
    private readonly instance: Instance,
    private readonly presence: ProcessPresence,
    @Inject(CONFIG) private readonly config: Pick<Config, 'ENGINE' | 'SANDBOX_PROOF'>,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Starts the proof, and removes what dead processes left of theirs. Call it once the server listens. */
  begin(): void {
    const isOff = this.config.SANDBOX_PROOF === 'off' || this.config.ENGINE === 'simulated';
    if (isOff || this.stopped.signal.aborted) return;
    this.identity.noteProof('proving');
    this.proving = Promise.all([this.removeLeft(), this.prove()]).then(() => undefined);
  }

  /** Waits until the sandbox of the proof is removed. */
  async onModuleDestroy(): Promise<void> {
    this.stopped.abort();
    clearTimeout(this.timer);
    await this.proving;
  }

  /** Never throws: a sweep removes what cannot be removed now. */
  private async removeLeft(): Promise<void> {
    const { signal } = this.stopped;
    try {
      const processes = await this.engine.host.probingProcesses();
      const dead = await this.presence.deadAmong(processes, signal);
      if (dead.size === 0 || signal.aborted) return;
      await this.engine.host.removeProbes(dead);
      this.logger.info({ processes: dead.size }, 'removed what dead processes left of their tests of sandboxes');
    } catch (error) {
      if (signal.aborted) return;
      this.logger.warn({ err: error }, 'what tests of sandboxes left could not be removed; a sweep does it later');
    }
  }

  private async prove(): Promise<void> {
    const report = await this.attempt();
    if (this.stopped.signal.aborted) return;
    this.identity.noteProof(report);
    for (const [check, fault] of Object.entries(report.faults)) {
      this.logger.error({ check }, `the proof of a sandbox failed: ${fault}`);
    }
    if (report.state === 'proved') {
      this.logger.info(
        { checks: PROOF_CHECKS, idle_cores: report.idleCores },
        'a sandbox was tried and does what it must',
      );
      return;
    }
    for (const reason of report.untried) this.logger.warn(`sandboxes are not fully proved: ${reason}`);
    const again = (): void => {
      this.proving = this.prove();
    };
    this.timer = setTimeout(again, AGAIN_AFTER_MS).unref();
  }

  private async attempt(): Promise<ProofReport> {
    const images = await this.catalog.list();
    const present = images.filter(({ available }) => available === true);
    const image = present.find((each) => each.default) ?? present[0];
    if (!image) {
      const untried = ['no image of the catalogue is here yet'];
      return { state: 'unproved', faults: {}, untried, idleCores: null };
    }
    const { reference } = image;
    const { signal } = this.stopped;
    return proveSandbox(this.engine, {
      instance: this.instance.id,
      process: this.presence.holder,
      image: reference,
      signal,
      node: this.anyNode(),
    });
  }

  /** In a cluster, a random usable node, so that several processes and repeated proofs try different nodes. */
  private anyNode(): string | null {
    const usable = (this.engine.nodes.list() ?? []).filter(
      ({ isReachable, availability, problem }) => isReachable && availability === 'active' && problem === null,
    );
    return usable[Math.floor(Math.random() * usable.length)]?.id ?? null;
  }
}
