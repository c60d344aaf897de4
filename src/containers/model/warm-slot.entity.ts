import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../../database/column-types';
import type { NetworkPolicy } from '../../network-policy';

/**
 * `making`: its objects in Docker are being created. `ready`: it runs, and a creation may take it. `releasing`: its
 * objects in Docker are being removed. A creation that takes a slot deletes its row.
 */
export const WARM_STATES = ['making', 'ready', 'releasing'] as const;
export type WarmState = (typeof WARM_STATES)[number];

/** A container that is started before a user asks for one. It belongs to no user until a creation takes it. */
@Entity('warm_slots')
@Index('warm_slots_ready', ['key', 'madeAt'], { where: "state = 'ready'" })
export class WarmSlotEntity {
  /** Becomes the id of the container that takes the slot. */
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  /** The digest of its create call (`EngineContainers.createKey`); on a cluster with its node. */
  @Column({ type: 'varchar', length: 160 })
  key: string;

  @Column({ type: 'varchar', length: 16 })
  state: WarmState;

  /** The process that made it, or that releases it: see `ProcessPresence`. */
  @Column({ type: 'varchar', length: 36 })
  holder: string;

  @Column({ name: 'node_id', type: 'varchar', length: 64, nullable: true })
  nodeId: string | null;

  /** The image reference that a creation asks for. */
  @Column({ type: 'varchar', length: 255 })
  image: string;

  @Column({ name: 'image_id', type: 'varchar', length: 80 })
  imageId: string;

  @Column({ name: 'image_digest', type: 'varchar', length: 80, nullable: true })
  imageDigest: string | null;

  @Column({ name: 'memory_mb', type: 'integer' })
  memoryMb: number;

  /** Millicores: 1000 is one CPU. */
  @Column({ name: 'cpu_shares', type: 'integer' })
  cpuShares: number;

  @Column({ name: 'disk_mb', type: 'integer' })
  diskMb: number;

  /** The size, in MiB, of the layers of its image that were written in containers; they count against `diskMb`. */
  @Column({ name: 'kept_layer_mb', type: 'integer', default: 0 })
  keptLayerMb: number;

  @Column({ type: 'simple-json' })
  network: NetworkPolicy;

  @Column({ type: 'integer' })
  processes: number;

  /** Null until the slot is ready, as are the next three. */
  @Column({ name: 'docker_id', type: 'varchar', length: 128, nullable: true })
  engineId: string | null;

  @Column({ type: 'varchar', length: 16, nullable: true })
  runtime: string | null;

  /** Docker's start time, in Docker's format. Another one means that the container was started again. */
  @Column({ name: 'run_started_at', type: 'varchar', length: 35, nullable: true })
  runStartedAt: string | null;

  @Column({ name: 'ip_address', type: 'varchar', length: 45, nullable: true })
  ipAddress: string | null;

  @Column({ name: 'made_at', type: TIMESTAMP })
  madeAt: Date;
}

/** A slot as plain data. */
export type WarmSlot = Readonly<WarmSlotEntity>;
