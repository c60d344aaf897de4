import type { EngineEvent } from '../../docker';
import type { DeathHint } from './observation';

/**
 * How long after `oom` a `die` is its consequence. Docker says `oom` also when the kernel killed one process and the
 * container went on; under gVisor 20240729 the end of the whole comes 0.1 s later.
 */
const OOM_TO_DIE_MS = 10_000;

/** What the event stream told of ends, until a look has used it: an inspection forgets why once the container runs again. */
export class DeathHints {
  private readonly deaths = new Map<string, DeathHint>();
  private readonly ooms = new Map<string, Date>();

  take({ action, dockerId, exitCode, at }: EngineEvent): void {
    if (action === 'oom') this.ooms.set(dockerId, at);
    if (action !== 'die') return;
    const oom = this.ooms.get(dockerId);
    this.ooms.delete(dockerId);
    this.deaths.set(dockerId, { exitCode, oom: oom !== undefined && at.getTime() - oom.getTime() <= OOM_TO_DIE_MS });
  }

  of(dockerId: string): DeathHint | null {
    return this.deaths.get(dockerId) ?? null;
  }

  /** A look has used it. */
  used(dockerId: string): void {
    this.deaths.delete(dockerId);
  }

  /** The container is gone for good. */
  forget(dockerId: string): void {
    this.deaths.delete(dockerId);
    this.ooms.delete(dockerId);
  }
}
