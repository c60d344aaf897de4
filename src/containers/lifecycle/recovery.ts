import { Injectable } from '@nestjs/common';
import { ContainerEngine } from '../../docker';
import type { ContainerRow } from '../container.entity';
import { Instance } from '../instance';
import type { Operation } from '../container-state';
import type { Claim } from './claim';
import { Followed, followObservation } from './observation';
import { planRecovery, RecoveryStep } from './recovery-plan';
import { settleStopped } from './settlement';

/** Leads a container back from an operation that failed or was cut off; the claim is held and stays held. */
@Injectable()
export class Recovery {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly instance: Instance,
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
    for (const step of planRecovery({ row, interrupted, listed, current })) {
      claim.assertHeld();
      await this.perform(step);
    }
    await this.look(claim, interrupted);
  }

  /** Lets the row follow Docker, under the claim. @throws EngineError */
  async look(claim: Claim, interrupted: Operation | null = null): Promise<void> {
    const { row } = claim;
    if (row.dockerId === null) return;
    const observed = await this.engine.inspectContainer(row.dockerId);
    let followed: Followed | null = followObservation(row, observed);
    // A stop that was asked for is no unasked-for exit, even if its end was seen by another.
    if (interrupted === 'stop' && followed?.patch.status === 'stopped' && observed !== null)
      followed = settleStopped(row);
    if (followed) await claim.record(followed.patch, followed.events);
  }

  /** Whether Docker says that the row's container is no more. @throws EngineError when Docker does not say */
  async isGone(row: ContainerRow): Promise<boolean> {
    if (row.dockerId === null) return false;
    const observed = await this.engine.inspectContainer(row.dockerId);
    return observed === null || observed.state === 'removing';
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
    }
  }
}
