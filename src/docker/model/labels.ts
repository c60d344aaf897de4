import type { OwnerLabels } from '../../engine';

/** The labels on Berth's objects in Docker. They are enough to find the row that an object belongs to. */
export const LABELS = {
  managed: 'berth.managed',
  instance: 'berth.instance',
  containerId: 'berth.container_id',
  userId: 'berth.user_id',
  generation: 'berth.generation',
  /** `internet`, `none` or `allow`; the allow list itself is in the next label. */
  network: 'berth.network',
  /** The entries of the allow list, separated by commas; an empty value means no entries. */
  allow: 'berth.allow',
  /** The user that commands run as by default, as the main process normally runs as root. */
  user: 'berth.user',
  /** `true` on containers that were started before a user asked for one, and so have no {@link LABELS.userId}. */
  warm: 'berth.warm',
  /**
   * On objects that are created only as a probe, instead of `berth.instance`, so that they never count as sandboxes.
   */
  probe: 'berth.probe',
  /** On probes: the process of Berth that makes and removes them. What a dead process left is removed. */
  process: 'berth.process',
  /**
   * On Berth's own containers that belong to a machine and not to a sandbox; such a container has no
   * `berth.instance`.
   */
  helper: 'berth.helper',
  /** On the volumes of snapshots: the snapshot's id, instead of a container's. */
  snapshot: 'berth.snapshot',
  /** The protocol of the supervisor that is the main process; empty before there was one. */
  supervisor: 'berth.supervisor',
  /** On images of writable layers: the instance, in place of `berth.instance`, which only containers may have. */
  layer: 'berth.layer',
} as const;

/** The prefix of all of Berth's labels. */
const PREFIX = 'berth.';

/**
 * @param labels of an image
 * @returns the names of the image's labels that could be taken for Berth's
 */
export function claimedLabels(labels: Readonly<Record<string, unknown>> | null | undefined): string[] {
  return Object.keys(labels ?? {}).filter((label) => label.startsWith(PREFIX));
}

/**
 * All labels of a container. Docker adds the image's labels to the given ones, so every label of Berth's that does
 * not apply is set to an empty value. Otherwise an image could label its containers as another user's, or as a
 * leftover of a probe. The presence of a label therefore says nothing; compare values.
 *
 * @param claimed the image's labels that {@link claimedLabels} returns
 */
export function containerLabels(
  own: Readonly<Record<string, string>>,
  claimed: readonly string[] = [],
): Record<string, string> {
  const blank = [...Object.values(LABELS), ...claimed].map((label) => [label, ''] as const);
  return { ...Object.fromEntries(blank), ...own };
}

/** @param process the process of Berth that makes the probe */
export function probeLabels({ instance, process }: { instance: string; process: string }): Record<string, string> {
  return { [LABELS.managed]: 'true', [LABELS.probe]: instance, [LABELS.process]: process };
}

/** @returns the labels that identify an object's owner */
export function ownerLabels(owner: OwnerLabels): Record<string, string> {
  return {
    ...(owner.probeOf === undefined
      ? { [LABELS.managed]: 'true', [LABELS.instance]: owner.instance }
      : probeLabels({ instance: owner.instance, process: owner.probeOf })),
    [owner.isSnapshot ? LABELS.snapshot : LABELS.containerId]: owner.containerId,
    [LABELS.userId]: owner.userId,
  };
}

/** The labels of the volumes with the supervisor's program, and of the containers that fill them. */
export function supervisorLabels(): Record<string, string> {
  return { [LABELS.managed]: 'true', [LABELS.helper]: 'supervisor' };
}
