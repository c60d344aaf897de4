import { Column, Entity, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../../database/column-types';

/** What is known of one of several machines, by any process. */
@Entity('nodes')
export class NodeEntity {
  /** Swarm's own. */
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

  /** Of what Swarm says: a process that was told less recently changes none of it. */
  @Column({ type: 'integer', default: 0 })
  version: number;

  @Column({ name: 'memory_mb', type: 'integer', nullable: true })
  memoryMb: number | null;

  /** Millicores. */
  @Column({ name: 'cpu_shares', type: 'integer', nullable: true })
  cpuShares: number | null;

  /** Why no sandbox can be on it; null: nothing is in the way. */
  @Column({ type: 'text', nullable: true })
  problem: string | null;

  /** When it last answered any process; null: never. */
  @Column({ name: 'reachable_at', type: TIMESTAMP, nullable: true })
  reachableAt: Date | null;

  /** Since when administrators know that it is silent; null: it answers, or never has. */
  @Column({ name: 'silent_since', type: TIMESTAMP, nullable: true })
  silentSince: Date | null;

  /** Since when what is on it is to be moved to others, as long as it is drained; null: it stays. */
  @Column({ name: 'emptied_since', type: TIMESTAMP, nullable: true })
  emptiedSince: Date | null;

  /** Until when nothing new is placed there while another node has room, as creations failed there; null: any time. */
  @Column({ name: 'avoided_until', type: TIMESTAMP, nullable: true })
  avoidedUntil: Date | null;

  /** Why: `no_space`, or the error's code. */
  @Column({ name: 'avoided_because', type: 'varchar', length: 64, nullable: true })
  avoidedBecause: string | null;

  /** How often in a row it came to be avoided: each time for longer. A creation that succeeds there ends that. */
  @Column({ type: 'integer', default: 0 })
  faults: number;

  /** When an administrator gave it up; null: nobody has. */
  @Column({ name: 'forgotten_at', type: TIMESTAMP, nullable: true })
  forgottenAt: Date | null;
}

/** One row: whoever chooses a machine locks it. */
@Entity('placement')
export class PlacementEntity {
  @PrimaryColumn({ type: 'integer' })
  id: number;
}

export type NodeRow = Readonly<NodeEntity>;

/** No process has heard of it for so long: its users are told. Processes note what answers every few seconds. */
const SILENT_MS = 10_000;

/** A machine that answered any process after this is not silent. */
export function silentBefore(now: Date): Date {
  return new Date(now.getTime() - SILENT_MS);
}

/** Whether no process gets an answer of it. */
export function isSilent({ reachableAt }: Pick<NodeRow, 'reachableAt'>, now: Date): boolean {
  return reachableAt === null || reachableAt < silentBefore(now);
}
