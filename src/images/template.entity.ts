import { Column, Entity, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';
import { snapshotImage } from '../engine';
import type { NetworkPolicy } from '../network-policy';

/** A starting point for containers that an administrator prepared: an image, or the files of a snapshot. */
@Entity('templates')
export class TemplateEntity {
  /** What a creation writes as `image`. */
  @PrimaryColumn({ type: 'varchar', length: 64 })
  name: string;

  @Column({ type: 'varchar', length: 64 })
  version: string;

  @Column({ type: 'varchar', length: 1000, nullable: true })
  description: string | null;

  /** The image reference as given to Docker; with a snapshot, that of the snapshot's container. */
  @Column({ type: 'varchar', length: 255 })
  image: string;

  /** The snapshot that it was made from, which may be deleted since; null: the image alone. */
  @Column({ name: 'snapshot_id', type: 'varchar', length: 36, nullable: true })
  snapshotId: string | null;

  /** The row in `snapshots` with its own copy of that snapshot's files. */
  @Column({ name: 'files_id', type: 'varchar', length: 36, nullable: true })
  filesId: string | null;

  /** The node with those files; null on a single machine, and with an image alone. */
  @Column({ name: 'node_id', type: 'varchar', length: 64, nullable: true })
  nodeId: string | null;

  /** Whether its containers begin with the snapshot's data too. */
  @Column({ name: 'has_data', type: 'boolean' })
  hasData: boolean;

  /** The size, in MiB, of the layers that were written in containers. */
  @Column({ name: 'kept_layer_mb', type: 'integer' })
  keptLayerMb: number;

  /** The sizes of containers whose creation gives none; null: the tier's. */
  @Column({ name: 'memory_mb', type: 'integer', nullable: true })
  memoryMb: number | null;

  @Column({ name: 'cpu_shares', type: 'integer', nullable: true })
  cpuShares: number | null;

  @Column({ name: 'disk_mb', type: 'integer', nullable: true })
  diskMb: number | null;

  /** The start command in its stored form; null: none. */
  @Column({ type: 'simple-json', nullable: true })
  start: object | null;

  @Column({ type: 'varchar', length: 64, nullable: true })
  role: string | null;

  /** null: the tier's. */
  @Column({ type: 'simple-json', nullable: true })
  network: NetworkPolicy | null;

  /** The tiers whose users may use it; null: all. */
  @Column({ type: 'simple-json', nullable: true })
  tiers: readonly string[] | null;

  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;

  @Column({ name: 'updated_at', type: TIMESTAMP })
  updatedAt: Date;
}

/** A template as plain data. */
export type TemplateRow = Readonly<TemplateEntity>;

/** Whether users of a tier may create containers from a template. */
export function permits({ tiers }: Pick<TemplateRow, 'tiers'>, tier: string): boolean {
  return tiers === null || tiers.includes(tier);
}

/** The reference of the image that its containers are created from. */
export function templateImage({ image, filesId }: Pick<TemplateRow, 'image' | 'filesId'>): string {
  return filesId === null ? image : snapshotImage(filesId);
}
