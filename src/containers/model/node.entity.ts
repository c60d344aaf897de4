import { Column, Entity, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../../database/column-types';

/** The state of one node of a cluster, as recorded by any process. */
@Entity('nodes')
export class NodeEntity {
  /** Swarm's node id. */
  @PrimaryColumn({ type: 'varchar', length: 64 })
  id: string;

  @Column({ type: 'varchar', length: 255 })
  name: string;

  @Column({ type: 'varchar', length: 255 })
  address: string;

  @Column({ type: 'varchar', length: 64 })
  pool: string;

  @Column({ type: 'simple-json' })
  labels: Record<string, string>;

  @Column({ type: 'varchar', length: 16 })
  state: 'ready' | 'down' | 'unknown';

  @Column({ type: 'varchar', length: 16 })
  availability: 'active' | 'pause' | 'drain';

  @Column({ name: 'is_manager', type: 'boolean' })
  isManager: boolean;

  /** The version of Swarm's node object: a process with an older version does not overwrite a newer one. */
  @Column({ type: 'integer', default: 0 })
  version: number;

  @Column({ name: 'memory_mb', type: 'integer', nullable: true })
  memoryMb: number | null;

  /** Millicores. */
  @Column({ name: 'cpu_shares', type: 'integer', nullable: true })
  cpuShares: number | null;

  /** Why no sandbox can run on the node; null: it can. */
  @Column({ type: 'text', nullable: true })
  problem: string | null;

  /** When the node last answered any process; null: never. */
  @Column({ name: 'reachable_at', type: TIMESTAMP, nullable: true })
  reachableAt: Date | null;

  /** When administrators were told that the node is silent; null: it answers, or never has. */
  @Column({ name: 'silent_since', type: TIMESTAMP, nullable: true })
  silentSince: Date | null;

  /**
   * When an administrator asked to move the containers to other nodes, as long as the node is drained; null: they
   * stay.
   */
  @Column({ name: 'emptied_since', type: TIMESTAMP, nullable: true })
  emptiedSince: Date | null;

  /**
   * Until when new containers are placed here only if no other node has room, because creations failed; null: not
   * avoided.
   */
  @Column({ name: 'avoided_until', type: TIMESTAMP, nullable: true })
  avoidedUntil: Date | null;

  /** Why the node is avoided: `no_space`, or the error's code. */
  @Column({ name: 'avoided_because', type: 'varchar', length: 64, nullable: true })
  avoidedBecause: string | null;

  /**
   * How often in a row the node came to be avoided; the time doubles each time. A creation that succeeds there resets
   * it.
   */
  @Column({ type: 'integer', default: 0 })
  faults: number;

  /** When an administrator gave the node up; null: not given up. */
  @Column({ name: 'forgotten_at', type: TIMESTAMP, nullable: true })
  forgottenAt: Date | null;
}

/** A single row that every placement locks. */
@Entity('placement')
export class PlacementEntity {
  @PrimaryColumn({ type: 'integer' })
  id: number;
}

export type NodeRow = Readonly<NodeEntity>;

/**
 * A node that answered no process for this long counts as silent, and its users are told. Processes record answers
 * every few seconds.
 */
const SILENT_MS = 10_000;

/** A node that answered any process after this time is not silent. */
export function silentBefore(now: Date): Date {
  return new Date(now.getTime() - SILENT_MS);
}

/** Whether no process has had an answer from the node recently. */
export function isSilent({ reachableAt }: Pick<NodeRow, 'reachableAt'>, now: Date): boolean {
  return reachableAt === null || reachableAt < silentBefore(now);
}
