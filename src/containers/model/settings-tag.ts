import { etagOf } from '../../http';
import { LruMap } from '../../scheduling';
import type { ContainerRow } from './container.entity';

/** Maximum tags kept; a client that polls reads the same containers again and again. */
const MOST_KEPT = 1_000;
/** Longer variables are not kept, to bound the memory. In characters. */
const LONGEST_KEPT = 4_096;

interface Kept {
  readonly revision: number;
  readonly sealedEnv: string;
  readonly tag: string;
}

const kept = new LruMap<Kept>(MOST_KEPT);

/**
 * The entity tag of a container's settings: all that `PATCH` can change, and nothing else. It identifies no response
 * of `GET`, which also has the status and the times. The variables count as they are encrypted, so that the tag does
 * not help to guess them; encrypting them with a new key changes the tag.
 */
export function settingsTag(row: ContainerRow): string {
  const { id, revision, sealedEnv } = row;
  const known = kept.get(id);
  // New keys are written without a new revision.
  if (known?.revision === revision && known.sealedEnv === sealedEnv) return known.tag;
  const tag = etagOf(Buffer.from(JSON.stringify(settingsOf(row))));
  if (sealedEnv.length <= LONGEST_KEPT) kept.set(id, { revision, sealedEnv, tag });
  return tag;
}

function settingsOf(row: ContainerRow): readonly unknown[] {
  const labels = Object.entries(row.labels).sort(([a], [b]) => (a < b ? -1 : 1));
  const resources = [row.memoryMb, row.cpuShares, row.diskMb];
  return [
    row.name,
    resources,
    row.network,
    row.sealedEnv,
    labels,
    row.autoStopSeconds,
    row.idleAction,
    row.autoDeleteSeconds,
    row.autoStart,
    row.start,
    row.lifetimeSeconds,
    row.endAction,
  ];
}
