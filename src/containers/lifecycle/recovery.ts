import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { ContainerEngine, isHalfGone } from '../../docker';
import { LOGGER } from '../../logging';
import type { ContainerRow } from '../container.entity';
import { Instance } from '../instance';
import { isEnding, type Operation } from '../container-state';
import type { Claim } from './claim';
import { DataVolumes } from './data-volumes';
import { KnownEngine } from './known-engine';
import { Followed, followObservation } from './observation';
import { planRecovery, RecoveryStep } from './recovery-plan';
import { RunLimits } from './run-limits';
import { settleStopped } from './settlement';

/** Leads a container back from an operation that failed or was cut off; the claim is held and stays held. */
@Injectable()
export class Recovery {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly instance: Instance,
    private readonly volumes: DataVolumes,
    private readonly known: KnownEngine,
    private readonly limits: RunLimits,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Removes what the row does not know, restores what it does, and lets the row follow what Docker then says.
   *
   * @param interrupted what was going on; says whether the way is back or on
   * @throws EngineError when Docker does not let it; then nothing is lost, and it can be tried again
   */
  async recover(claim: Claim, interrupted: Operation): Promise<void> {
    const { row } = claim;
    const listed = await this.engine.listContainers({ instance: this.instance.id, containerId: row.id });
    const current = row.dockerId === null ? null : await this.engine.inspectContainer(row.dockerId);
    const volumes = await this.volumes.ofContainer(row);
    for (const step of planRecovery({ row, interrupted, listed, current, volumes })) {
      await claim.assertHeld();
      await this.perform(step);
    }
    await this.look(claim, interrupted);
  }

  /** Lets the row follow Docker, under the claim. @throws EngineError */
  async look(claim: Claim, interrupted: Operation | null = null): Promise<void> {
    const followed = await this.compare(claim.row, interrupted);
    if (followed) await claim.record(followed.patch, followed.events);
  }

  /**
   * Looks at the row's container in Docker.
   *
   * @param interrupted what was going on; says whether an end that is seen was one that was wanted
   * @returns what the row has to follow; null where it agrees
   * @throws EngineError
   */
  async compare(row: ContainerRow, interrupted: Operation | null): Promise<Followed | null> {
    if (row.dockerId === null) return null;
    const observed = await this.engine.inspectContainer(row.dockerId);
    const terms = await this.limits.termsOf(row.userId);
    const followed = followObservation(row, observed, { death: null, terms });
    // A stop of our own is no exit, even if its end was seen by another.
    if (followed?.patch.status === 'stopped' && observed !== null) {
      if (interrupted === 'stop' || interrupted === 'delete') return settleStopped(row);
      if (isEnding(interrupted)) return settleStopped(row, interrupted);
    }
    return followed;
  }

  /** Whether Docker says that the row's container is no more. @throws EngineError when Docker does not say */
  async isGone(row: ContainerRow): Promise<boolean> {
    if (row.dockerId === null) return false;
    const observed = await this.engine.inspectContainer(row.dockerId);
    return observed === null || isHalfGone(observed.state);
  }

  private async perform(step: RecoveryStep): Promise<void> {
    switch (step.do) {
      case 'remove_container':
        return this.engine.removeContainer(step.dockerId);
      case 'start_container':
        await this.engine.startContainer(step.dockerId);
        return;
      case 'rename_container': {
        return this.engine.renameContainer(step.dockerId, step.name);
      }
      case 'remove_volume':
        // In another Docker it may be all that there is of the data.
        if (this.known.changed) return;
        // It takes space and harms nobody; a container must not hang on it.
        return this.engine.removeVolume(step.volume).catch((error: unknown) => {
          this.logger.warn({ err: error, volume: step.volume }, 'a volume of no use is left to the sweep');
        });
    }
  }
}
