import { Injectable } from '@nestjs/common';
import { ContainerEngine, EngineError, type EngineErrorCode, type ExecRequest } from '../docker';
import { DomainError } from '../errors';
import { Clock } from '../scheduling';
import type { ContainerRow } from './container.entity';
import { ContainerRepository } from './container.repository';
import { RunPolicies } from './expiry/run-policy';

/** Docker's errors for a container that is not running, though its row says so. */
const NOT_RUNNING: readonly EngineErrorCode[] = ['container_not_found', 'container_not_running', 'container_paused'];

/** The use of running containers, which keeps them from counting as idle. */
@Injectable()
export class ContainerUsage {
  constructor(
    private readonly repository: ContainerRepository,
    private readonly engine: ContainerEngine,
    private readonly policies: RunPolicies,
    private readonly clock: Clock,
  ) {}

  /** Notes a use; at most once a minute, and without an event. */
  async note(row: ContainerRow): Promise<void> {
    const now = this.clock.now();
    const noted = new Date(now.getTime() - this.policies.useNotedEveryMs);
    if (row.lastUsedAt <= noted) await this.repository.touch(row.id, { now, noted });
  }

  /**
   * Runs a command and waits for its end; counts as a use at its beginning and at its end.
   *
   * @throws DomainError `container_not_running`, EngineError
   */
  async exec(row: ContainerRow, request: ExecRequest): Promise<{ exitCode: number }> {
    if (row.status !== 'running' || row.dockerId === null) throw new DomainError('container_not_running');
    await this.note(row);
    try {
      return await this.engine.exec(row.dockerId, request);
    } catch (error) {
      if (error instanceof EngineError && NOT_RUNNING.includes(error.code)) {
        throw new DomainError('container_not_running', { cause: error });
      }
      throw error;
    } finally {
      // The command has ended, whatever becomes of the note.
      await this.noteAgain(row.id).catch(() => undefined);
    }
  }

  private async noteAgain(id: string): Promise<void> {
    const row = await this.repository.findById(id);
    if (row) await this.note(row);
  }
}
