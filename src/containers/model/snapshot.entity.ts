import { ApiProperty } from '@nestjs/swagger';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Choice, Count, Flag, Text, Uuid } from '../../api-fields';
import { TIMESTAMP } from '../../database/column-types';
import { snapshotImage } from '../../engine';
import type { SnapshotFacts } from '../../events';

/**
 * The status of a snapshot in its row:
 *
 * ```
 *  making ──▶ ready ──▶ deleting ──▶ (removed)
 *     │                    ▲ ▲
 *     ├──▶ failed ─────────┘ │
 *     └──────────────────────┘
 * ```
 */
const SNAPSHOT_STATUSES = ['making', 'ready', 'failed'] as const;
export type SnapshotStatus = (typeof SNAPSHOT_STATUSES)[number] | 'deleting';

/** PostgreSQL's driver returns 64-bit integers as text; sizes are far below 2⁵³. */
const BYTES = { type: 'bigint', transformer: { to: (bytes: number) => bytes, from: Number } } as const;

/** A snapshot of a container: its data volume, and its writable layer where that can be kept. */
@Entity('snapshots')
@Index('snapshots_user', ['userId', 'createdAt'])
@Index('snapshots_container', ['containerId'])
@Index('snapshots_unclean', ['status'], { where: 'is_clean = false' })
export class SnapshotEntity {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  @Column({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  /** The container that it was made of, which may be deleted since. */
  @Column({ name: 'container_id', type: 'varchar', length: 36 })
  containerId: string;

  /** The node with its image and volume; null on a single machine. */
  @Column({ name: 'node_id', type: 'varchar', length: 64, nullable: true })
  nodeId: string | null;

  @Column({ type: 'varchar', length: 64 })
  name: string;

  @Column({ type: 'varchar', length: 1000, nullable: true })
  description: string | null;

  @Column({ type: 'simple-json' })
  labels: Record<string, string>;

  @Column({ type: 'varchar', length: 16 })
  status: SnapshotStatus;

  /** A code for the reason of a failure. */
  @Column({ name: 'status_reason', type: 'varchar', length: 64, nullable: true })
  statusReason: string | null;

  /**
   * It is not its user's: not listed, not counted, without events. It exists for a fork, and is removed once the copies
   * are made; or it has the files of a template.
   */
  @Column({ name: 'is_transient', type: 'boolean' })
  isTransient: boolean;

  /** The only container that is made from it: the data is in that container's volume, and nowhere else. */
  @Column({ name: 'only_copy_id', type: 'varchar', length: 36, nullable: true })
  onlyCopyId: string | null;

  /** Of the files of a template: the snapshot that they are a copy of; null: of everything else. */
  @Column({ name: 'copied_from_id', type: 'varchar', length: 36, nullable: true })
  copiedFromId: string | null;

  /**
   * The lease on the container under which it is made; of a template's files, the process that makes them. Without that
   * lease or process, nothing makes it any more.
   */
  @Column({ name: 'operation_id', type: 'varchar', length: 36 })
  operationId: string;

  /** The container's image reference, and the version that its layer is on. */
  @Column({ type: 'varchar', length: 255 })
  image: string;

  @Column({ name: 'image_id', type: 'varchar', length: 80, nullable: true })
  imageId: string | null;

  @Column({ name: 'image_digest', type: 'varchar', length: 80, nullable: true })
  imageDigest: string | null;

  /** Whether it contains what the container had outside its data volume. */
  @Column({ type: 'boolean' })
  root: boolean;

  /** Docker's id of the image of the writable layer; null: nothing was written there, or it is not contained. */
  @Column({ name: 'layer_id', type: 'varchar', length: 80, nullable: true })
  layerId: string | null;

  @Column({ type: 'varchar', length: 64, nullable: true })
  role: string | null;

  @Column({ name: 'disk_mb', type: 'integer' })
  diskMb: number;

  /** The size of the data; until the snapshot is ready, as measured before. At least 1, unless there is no volume. */
  @Column({ name: 'data_bytes', ...BYTES })
  dataBytes: number;

  /** The size of the writable layer, likewise. */
  @Column({ name: 'layer_bytes', ...BYTES })
  layerBytes: number;

  /** The size, in MiB, of all layers that were written in containers, this one included. */
  @Column({ name: 'kept_layer_mb', type: 'integer' })
  keptLayerMb: number;

  /** How long the container was suspended; null before it is known. */
  @Column({ name: 'downtime_ms', type: 'integer', nullable: true })
  downtimeMs: number | null;

  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;

  @Column({ name: 'updated_at', type: TIMESTAMP })
  updatedAt: Date;

  /** False while Docker may have something of a snapshot that is failed or deleted. */
  @Column({ name: 'is_clean', type: 'boolean' })
  isClean: boolean;

  /** The time up to which its use is in `daily_usage`; null: it is not metered. */
  @Column({ name: 'metered_since', type: TIMESTAMP, nullable: true })
  meteredSince: Date | null;
}

/** A snapshot's row as plain data: read, decided on and passed around, never modified. */
export type SnapshotRow = Readonly<SnapshotEntity>;

/** The name of a snapshot's volume; unlike those of containers it is found by the row alone. */
export function snapshotVolume({ id }: Pick<SnapshotRow, 'id'>): string {
  return `berth-snapshot-${id}`;
}

/** The name of a snapshot or a copy that was given none: that of the container, with the beginning of its own id. */
export function nameAfter({ name }: { readonly name: string }, id: string): string {
  return `${name.slice(0, 55)}-${id.slice(0, 8)}`;
}

/** The name of the image of a snapshot's writable layer. */
export function layerReference({ id }: Pick<SnapshotRow, 'id'>): string {
  return snapshotImage(id);
}

/** Whether containers can be created from a snapshot; also if it was deleted since, as long as one is needed. */
export function isMade({ status, downtimeMs }: Pick<SnapshotRow, 'status' | 'downtimeMs'>): boolean {
  return status === 'ready' || (status === 'deleting' && downtimeMs !== null);
}

/** Whether the image is known that containers can be created from; the data may still be copied. */
export function hasImage(row: Pick<SnapshotRow, 'status' | 'downtimeMs' | 'layerBytes' | 'layerId'>): boolean {
  return isMade(row) || (row.status === 'making' && (row.layerBytes === 0 || row.layerId !== null));
}

/** The space that a snapshot counts with. */
export function bytesOf({ dataBytes, layerBytes }: Pick<SnapshotRow, 'dataBytes' | 'layerBytes'>): number {
  return dataBytes + layerBytes;
}

/** The facts about a snapshot in events and answers. */
export class SnapshotFactsView implements SnapshotFacts {
  @Uuid() readonly id: string;
  @Uuid("Database id of the snapshot's container.")
  readonly container_id: string;
  @Text({ example: 'with-nodejs' }) readonly name: string;
  @Choice([...SNAPSHOT_STATUSES, 'deleting'], '`deleting` appears only in the event of the deletion.', {
    enumName: 'SnapshotStatus',
    example: 'ready',
  })
  readonly status: SnapshotStatus;
  @Flag(
    'True if the snapshot includes files outside `/home/user`, such as installed packages. False until the ' +
      'snapshot is ready, and if the machine cannot keep these files.',
  )
  readonly root: boolean;
  @Count('Size that counts towards the limits.', { example: 52_428_800 })
  readonly bytes: number;
  @ApiProperty({ type: 'object', additionalProperties: { type: 'string' }, example: { team: 'core' } })
  readonly labels: Readonly<Record<string, string>>;
}

/** @returns plain data, to be spread into larger objects */
export function snapshotFacts(row: SnapshotRow): Readonly<SnapshotFactsView> {
  const { id, containerId: container_id, name, status, root, labels } = row;
  return { id, container_id, name, status, root, bytes: bytesOf(row), labels };
}
