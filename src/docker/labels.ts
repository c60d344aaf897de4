import type { OwnerLabels } from './container-engine';

/** The labels that Berth's objects carry in Docker. What they say is enough to find the row that an object belongs to. */
export const LABELS = {
  managed: 'berth.managed',
  instance: 'berth.instance',
  containerId: 'berth.container_id',
  userId: 'berth.user_id',
  generation: 'berth.generation',
  /** Of an object that is made only to see whether it can be; in place of `berth.instance`, so that nobody takes it for a sandbox. */
  probe: 'berth.probe',
} as const;

/** @returns the labels that say whose an object is */
export function ownerLabels(owner: OwnerLabels): Record<string, string> {
  return {
    [LABELS.managed]: 'true',
    [LABELS.instance]: owner.instance,
    [LABELS.containerId]: owner.containerId,
    [LABELS.userId]: owner.userId,
  };
}
