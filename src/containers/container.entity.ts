import { ApiProperty } from '@nestjs/swagger';
import { Column, DeleteDateColumn, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';
import type { ContainerFacts } from '../events';
import { Resources } from '../tiers';

/** The truth about a container: what is wanted, what was last seen, and which operation holds it. */
@Entity('containers')
@Index('containers_expires_at', ['expiresAt'], { where: 'expires_at IS NOT NULL' })
@Index('containers_running', ['lastUsedAt'], { where: "status = 'running' AND deleted_at IS NULL" })
@Index('containers_claimed', ['operation'], { where: 'operation IS NOT NULL' })
@Index('containers_role_claimed', ['roleClaimId'], { where: 'role_claim_id IS NOT NULL' })
@Index('containers_live_name', ['userId', 'name'], { unique: true, where: 'deleted_at IS NULL' })
export class ContainerEntity {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  @Column({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  @Column({ type: 'varchar', length: 64 })
  name: string;

  /** The image reference that Docker is given. */
  @Column({ type: 'varchar', length: 255 })
  image: string;

  @Column({ type: 'varchar', length: 64, nullable: true })
  role: string | null;

  /** null where there is no role, or nothing to install for it. */
  @Column({ name: 'role_status', type: 'varchar', length: 16, nullable: true })
  roleStatus: RoleStatus | null;

  /** Whoever installs the role now; made anew for each attempt, and every write about the role carries it. */
  @Column({ name: 'role_claim_id', type: 'varchar', length: 36, nullable: true })
  roleClaimId: string | null;

  /** The process that installs the role: see `ProcessPresence`. */
  @Column({ name: 'role_claim_holder', type: 'varchar', length: 36, nullable: true })
  roleClaimHolder: string | null;

  /** Another time with each renewal of that lease; `TERM_OVER` once it is left. */
  @Column({ name: 'role_claim_expires_at', type: TIMESTAMP, nullable: true })
  roleClaimExpiresAt: Date | null;

  @Column({ type: 'simple-json' })
  env: Record<string, string>;

  /** The user's own; Docker never gets them. Kept as `JSON.stringify` writes it, which the filter of the list goes by. */
  @Column({ type: 'simple-json', default: '{}' })
  labels: Record<string, string>;

  @Column({ name: 'memory_mb', type: 'integer' })
  memoryMb: number;

  /** Millicores: 1000 is one CPU. */
  @Column({ name: 'cpu_shares', type: 'integer' })
  cpuShares: number;

  @Column({ name: 'disk_mb', type: 'integer' })
  diskMb: number;

  @Column({ type: 'varchar', length: 16 })
  status: ContainerStatus;

  /** A machine word: why the status is what it is, where that is not plain. */
  @Column({ name: 'status_reason', type: 'varchar', length: 64, nullable: true })
  statusReason: string | null;

  /** The id of the container in Docker that is this one now; null until the first was made. */
  @Column({ name: 'docker_id', type: 'varchar', length: 64, nullable: true })
  dockerId: string | null;

  /** Counts the Docker containers that this one has been; 0 before the first. Also their label `berth.generation`. */
  @Column({ type: 'integer', default: 0 })
  generation: number;

  @Column({ name: 'volume_name', type: 'varchar', length: 128 })
  volumeName: string;

  /** The OCI runtime of the Docker container: `runsc` or `runc`. */
  @Column({ type: 'varchar', length: 16, nullable: true })
  runtime: string | null;

  @Column({ name: 'ip_address', type: 'varchar', length: 45, nullable: true })
  ipAddress: string | null;

  /** Docker's own start time of the present run, as Docker writes it (nanoseconds, so text); tells one run from the next. */
  @Column({ name: 'run_started_at', type: 'varchar', length: 35, nullable: true })
  runStartedAt: string | null;

  /**
   * Since when the present run counts. Unlike Docker's start it stays when the container is made anew during its run. null
   * where nothing runs.
   */
  @Column({ name: 'run_since', type: TIMESTAMP, nullable: true })
  runSince: Date | null;

  /** When the run is ended by the session or the tier; null: never. */
  @Column({ name: 'expires_at', type: TIMESTAMP, nullable: true })
  expiresAt: Date | null;

  /** When the coming end of this run was told; null: not yet. */
  @Column({ name: 'expiry_warned_at', type: TIMESTAMP, nullable: true })
  expiryWarnedAt: Date | null;

  @Column({ name: 'last_used_at', type: TIMESTAMP })
  lastUsedAt: Date;

  /** The operation that holds the container; null when none does. */
  @Column({ type: 'varchar', length: 16, nullable: true })
  operation: Operation | null;

  /** Made anew for each lease; every write of the operation carries it. */
  @Column({ name: 'operation_id', type: 'varchar', length: 36, nullable: true })
  operationId: string | null;

  /** The process whose operation it is: see `ProcessPresence`. */
  @Column({ name: 'operation_holder', type: 'varchar', length: 36, nullable: true })
  operationHolder: string | null;

  /** Another time with each renewal of the lease; `TERM_OVER` once anyone may take it over. */
  @Column({ name: 'operation_expires_at', type: TIMESTAMP, nullable: true })
  operationExpiresAt: Date | null;

  /** Asks the holder to give up at its next step; only a creation listens. */
  @Column({ name: 'operation_cancelled', type: 'boolean' })
  operationCancelled: boolean;

  /** Grows with every write; a write without a lease is conditional on it. */
  @Column({ type: 'integer', default: 0 })
  revision: number;

  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;

  @Column({ name: 'updated_at', type: TIMESTAMP })
  updatedAt: Date;

  @DeleteDateColumn({ name: 'deleted_at', type: TIMESTAMP })
  deletedAt: Date | null;

  /** When the volume of a deleted container may be removed; null: never. */
  @Column({ name: 'purge_at', type: TIMESTAMP, nullable: true })
  purgeAt: Date | null;

  /** When the volume of a deleted container was removed. */
  @Column({ name: 'purged_at', type: TIMESTAMP, nullable: true })
  purgedAt: Date | null;
}

/** A container's row as plain data: what is read, decided on and passed about. Only the repository writes rows. */
export type ContainerRow = Readonly<ContainerEntity>;

/** What a start did; the optional parts only where the container was made anew. */
export interface Started {
  readonly row: ContainerRow;
  readonly recreated?: true;
  readonly old_id?: string;
  readonly volume_kept?: boolean;
}

/** Every Docker id that a container has or had, so that a client's old id still finds it. */
@Entity('container_docker_ids')
export class DockerIdEntity {
  /** 64 hex. */
  @PrimaryColumn({ name: 'docker_id', type: 'varchar', length: 64 })
  dockerId: string;

  /** The first 12 hex, which Docker prints. */
  @Index('container_docker_ids_short_id')
  @Column({ name: 'short_id', type: 'varchar', length: 12 })
  shortId: string;

  @Index('container_docker_ids_container_id')
  @Column({ name: 'container_id', type: 'varchar', length: 36 })
  containerId: string;
}

/**
 * What a container's row says of it. Deleted is not a status: a deleted row has `deleted_at` and is invisible.
 *
 * ```
 *            create ok            stop, exit, oom, gone
 *  creating ──────────▶ running ◀──────────────────────▶ stopped
 *     │                    ▲            start, recreate       ▲
 *     │ create failed      │ start (tries the creation again) │
 *     └──────▶ error ──────┴────────────── stop ──────────────┘
 *
 *  every state ── delete ──▶ deleted
 * ```
 */
export const CONTAINER_STATUSES = ['creating', 'running', 'stopped', 'error'] as const;
export type ContainerStatus = (typeof CONTAINER_STATUSES)[number];

/** From where to where a status may go; the repository refuses the rest. */
export const STATUS_TRANSITIONS: Readonly<Record<ContainerStatus, readonly ContainerStatus[]>> = {
  creating: ['running', 'error'],
  running: ['stopped'],
  stopped: ['running'],
  error: ['running', 'stopped'],
};

/** What a client can ask for. */
export type Verb = 'create' | 'start' | 'stop' | 'delete' | 'update';

/**
 * What can hold a container: at most one of these at a time. Beside the verbs there are the ways back from one that failed:
 * `undo` makes Docker what the row says, `reconcile` makes the row what Docker says. `restart` is an `undo` that failed itself:
 * the row says by now that the container is stopped, which is true, and it has yet to be started again. `purge` holds a deleted
 * row while its data is removed.
 */
export type Operation = Verb | 'undo' | 'restart' | 'reconcile' | Ending | 'purge';

/** Operations that are rolled back to the state before them; the row follows wherever the others got to. */
export function isRolledBack(operation: Operation | null): boolean {
  return operation === 'update' || operation === 'undo' || operation === 'restart';
}

/** Stops that nobody asks for: the session or run is over, or nobody uses the container. */
export type Ending = 'expire' | 'idle';

export function isEnding(operation: Operation | null): operation is Ending {
  return operation === 'expire' || operation === 'idle';
}

/** Why a container stopped that nobody asked to stop. */
export type StopReason = 'exited' | 'oom' | 'missing' | 'session_expired' | 'idle';

/** How far a container's role is: what it asks for is installed by exec, after the container runs. */
export const ROLE_STATUSES = ['pending', 'installing', 'installed', 'failed'] as const;
export type RoleStatus = (typeof ROLE_STATUSES)[number];

/** What events and short answers tell of a container. Never `env`: it may hold the user's secrets. */
export class ContainerFactsView implements ContainerFacts {
  @ApiProperty({
    example: '4f1d2c3b'.repeat(8),
    description:
      'The Docker id, or the database id while there is none. A resize or a recreation changes it; the old one goes on to work as ":id".',
  })
  readonly id: string;
  @ApiProperty({ format: 'uuid', description: 'The database id, which never changes.' })
  readonly db_id: string;
  @ApiProperty({ example: 'dev-environment' })
  readonly name: string;
  @ApiProperty({ enum: CONTAINER_STATUSES, enumName: 'ContainerStatus', example: 'running' })
  readonly status: ContainerStatus;
  @ApiProperty({ example: 'ubuntu:24.04', description: 'The image reference that Docker was given.' })
  readonly image: string;
  @ApiProperty({ type: String, nullable: true, example: 'node' })
  readonly role: string | null;
  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'string' },
    example: { team: 'core' },
    description: "The user's own; Docker does not get them.",
  })
  readonly labels: Readonly<Record<string, string>>;
  @ApiProperty({ type: Resources })
  readonly resources: Resources;
}

/** @returns plain data, to be spread into what tells more */
export function containerFacts(row: ContainerRow): Readonly<ContainerFactsView> {
  return {
    id: row.dockerId ?? row.id,
    db_id: row.id,
    name: row.name,
    status: row.status,
    image: row.image,
    role: row.role,
    labels: row.labels,
    resources: { memory_mb: row.memoryMb, cpu_shares: row.cpuShares, disk_mb: row.diskMb },
  };
}
