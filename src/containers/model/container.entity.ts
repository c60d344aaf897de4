import { ApiProperty, OmitType } from '@nestjs/swagger';
import { Column, DeleteDateColumn, Entity, Index, PrimaryColumn } from 'typeorm';
import { Choice, Text, Uuid } from '../../api-fields';
import { TIMESTAMP } from '../../database/column-types';
import type { ContainerFacts } from '../../events';
import { plainId } from '../../engine';
import { type NetworkPolicy, NETWORK_POLICY_SCHEMA } from '../../network-policy';
import { type IdleAction, Resources } from '../../tiers';
import type { StartCommand } from './start-command';

/** The state of a container: its settings, its last observed state, and the operation that leases it. */
@Entity('containers')
@Index('containers_expires_at', ['expiresAt'], { where: 'expires_at IS NOT NULL' })
@Index('containers_ends_at', ['endsAt'], { where: 'ends_at IS NOT NULL' })
@Index('containers_created_at', ['createdAt'])
@Index('containers_running', ['lastUsedAt'], { where: "status = 'running' AND deleted_at IS NULL" })
@Index('containers_paused', ['pausedAt'], { where: "status = 'paused' AND deleted_at IS NULL" })
@Index('containers_stopped', ['stoppedAt'], { where: 'stopped_at IS NOT NULL AND deleted_at IS NULL' })
@Index('containers_pending_removal', ['removalPendingSince'], { where: 'removal_pending_since IS NOT NULL' })
@Index('containers_metered', ['userId', 'meteredSince'], { where: 'metered_since IS NOT NULL' })
@Index('containers_claimed', ['operation'], { where: 'operation IS NOT NULL' })
@Index('containers_role_claimed', ['roleClaimId'], { where: 'role_claim_id IS NOT NULL' })
@Index('containers_start_due', ['startDueAt'], { where: 'start_due_at IS NOT NULL' })
@Index('containers_node', ['nodeId'], { where: 'node_id IS NOT NULL' })
@Index('containers_other_node', ['otherNodeId'], { where: 'other_node_id IS NOT NULL' })
@Index('containers_former_node', ['formerNodeId'], { where: 'former_node_id IS NOT NULL' })
@Index('containers_seed_snapshot', ['seedSnapshotId'], { where: 'seed_snapshot_id IS NOT NULL' })
@Index('containers_reserving', ['id'], { where: 'reserved_memory_mb > 0' })
@Index('containers_live_name', ['userId', 'name'], { unique: true, where: 'deleted_at IS NULL' })
export class ContainerEntity {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  @Column({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  @Column({ type: 'varchar', length: 64 })
  name: string;

  /** The image reference as given to Docker. */
  @Column({ type: 'varchar', length: 255 })
  image: string;

  /** Docker's id of the image version that the container was created from; a recreation uses the same version. */
  @Column({ name: 'image_id', type: 'varchar', length: 80, nullable: true })
  imageId: string | null;

  /** The digest of that version in the image's repository, to pull it again; null if unknown. */
  @Column({ name: 'image_digest', type: 'varchar', length: 80, nullable: true })
  imageDigest: string | null;

  @Column({ type: 'varchar', length: 64, nullable: true })
  role: string | null;

  /** null if there is no role, or the role has nothing to install. */
  @Column({ name: 'role_status', type: 'varchar', length: 16, nullable: true })
  roleStatus: RoleStatus | null;

  /**
   * The lease of the role's installation: new for each attempt. Every write of the installation is conditional on it.
   */
  @Column({ name: 'role_claim_id', type: 'varchar', length: 36, nullable: true })
  roleClaimId: string | null;

  /** The process that installs the role: see `ProcessPresence`. */
  @Column({ name: 'role_claim_holder', type: 'varchar', length: 36, nullable: true })
  roleClaimHolder: string | null;

  /** Changes with each renewal of the role's lease; `TERM_OVER` once another process may take the lease over. */
  @Column({ name: 'role_claim_expires_at', type: TIMESTAMP, nullable: true })
  roleClaimExpiresAt: Date | null;

  /** The environment variables as JSON, encrypted: see `Environments`. */
  @Column({ name: 'env', type: 'text' })
  sealedEnv: string;

  /**
   * The user's own labels; not passed to Docker. Stored as `JSON.stringify` writes them, which the list's filter
   * relies on.
   */
  @Column({ type: 'simple-json', default: '{}' })
  labels: Record<string, string>;

  @Column({ name: 'memory_mb', type: 'integer' })
  memoryMb: number;

  /** Millicores: 1000 is one CPU. */
  @Column({ name: 'cpu_shares', type: 'integer' })
  cpuShares: number;

  @Column({ name: 'disk_mb', type: 'integer' })
  diskMb: number;

  /** What the container may reach, in canonical form. JSON, so that later policies need no other column. */
  @Column({ type: 'simple-json', default: '"internet"' })
  network: NetworkPolicy;

  /** The container's share of `reserved_capacity`: its memory limit while it may run, 0 while it is stopped. */
  @Column({ name: 'reserved_memory_mb', type: 'integer', default: 0 })
  reservedMemoryMb: number;

  /** As the memory, but 0 while the container is paused. */
  @Column({ name: 'reserved_cpu_shares', type: 'integer', default: 0 })
  reservedCpuShares: number;

  /**
   * The time up to which its use is in `daily_usage`. null: it is not metered, as before its first run and after its
   * purge.
   */
  @Column({ name: 'metered_since', type: TIMESTAMP, nullable: true })
  meteredSince: Date | null;

  @Column({ type: 'varchar', length: 16 })
  status: ContainerStatus;

  /** A code for the reason of the status; null if the status needs none. */
  @Column({ name: 'status_reason', type: 'varchar', length: 64, nullable: true })
  statusReason: string | null;

  /**
   * The id of the current Docker container, as `ContainerEngine` reports it; null before the first one is created,
   * and once the container's node is given up.
   */
  @Column({ name: 'docker_id', type: 'varchar', length: 128, nullable: true })
  engineId: string | null;

  /** The node that holds the container's volume; null on a single machine, or if no node holds it. */
  @Column({ name: 'node_id', type: 'varchar', length: 64, nullable: true })
  nodeId: string | null;

  /**
   * Another node that may hold a Docker container or a volume of this container: the target during a move, and
   * afterwards the node that the container left, until nothing remains there. The reservation counts on that node
   * too. null: there is none.
   */
  @Column({ name: 'other_node_id', type: 'varchar', length: 64, nullable: true })
  otherNodeId: string | null;

  /**
   * The node with the data of a container that has no Docker container: the node that was given up, or the one that
   * the data was moved to since. Cleared once a Docker container is created. null: there is none.
   */
  @Column({ name: 'former_node_id', type: 'varchar', length: 64, nullable: true })
  formerNodeId: string | null;

  /** The error code of the last failed attempt to move the container off a drained node; null: there was none. */
  @Column({ name: 'not_moved_because', type: 'varchar', length: 64, nullable: true })
  notMovedBecause: string | null;

  /** When the user was told that the container's node does not answer; null: it answers. */
  @Column({ name: 'unreachable_since', type: TIMESTAMP, nullable: true })
  unreachableSince: Date | null;

  /** The number of Docker containers created for this container so far; also their label `berth.generation`. */
  @Column({ type: 'integer', default: 0 })
  generation: number;

  /** The snapshot that its first Docker container is to be created from; null: none, or that container was created. */
  @Column({ name: 'seed_snapshot_id', type: 'varchar', length: 36, nullable: true })
  seedSnapshotId: string | null;

  /** The id of the container that it was forked from; null: it is no fork. */
  @Index('containers_forked_from', { where: 'forked_from IS NOT NULL' })
  @Column({ name: 'forked_from', type: 'varchar', length: 36, nullable: true })
  forkedFrom: string | null;

  /** The size, in MiB, of the layers below its own that were written in containers; they count against `diskMb`. */
  @Column({ name: 'kept_layer_mb', type: 'integer', default: 0 })
  keptLayerMb: number;

  /** The template that it was created from, with the version that it had then; null: none. */
  @Column({ name: 'template_name', type: 'varchar', length: 64, nullable: true })
  templateName: string | null;

  @Column({ name: 'template_version', type: 'varchar', length: 64, nullable: true })
  templateVersion: string | null;

  @Column({ name: 'volume_name', type: 'varchar', length: 128 })
  volumeName: string;

  /** The OCI runtime of the Docker container: `runsc` or `runc`. */
  @Column({ type: 'varchar', length: 16, nullable: true })
  runtime: string | null;

  @Column({ name: 'ip_address', type: 'varchar', length: 45, nullable: true })
  ipAddress: string | null;

  /** Docker's start time of the current run, in Docker's format (nanoseconds, so text). Distinguishes runs. */
  @Column({ name: 'run_started_at', type: 'varchar', length: 35, nullable: true })
  runStartedAt: string | null;

  /**
   * The start of the current run. Unlike Docker's start time it does not change when the container is recreated
   * during its run. null if the container does not run.
   */
  @Column({ name: 'run_since', type: TIMESTAMP, nullable: true })
  runSince: Date | null;

  /** When the session or the tier ends the run; null: never. */
  @Column({ name: 'expires_at', type: TIMESTAMP, nullable: true })
  expiresAt: Date | null;

  /** When the warning about the run's end was emitted; null: not yet. */
  @Column({ name: 'expiry_warned_at', type: TIMESTAMP, nullable: true })
  expiryWarnedAt: Date | null;

  /** Seconds that each run may last by its user's own wish, counted from its start or resumption; null: no limit. */
  @Column({ name: 'lifetime_seconds', type: 'integer', nullable: true })
  lifetimeSeconds: number | null;

  /** What happens at the end of the lifetime. */
  @Column({ name: 'end_action', type: 'varchar', length: 16, default: 'stop' })
  endAction: EndAction;

  /** When the lifetime of the current run is over; null: it has none, or the container does not run. */
  @Column({ name: 'ends_at', type: TIMESTAMP, nullable: true })
  endsAt: Date | null;

  @Column({ name: 'last_used_at', type: TIMESTAMP })
  lastUsedAt: Date;

  /** Seconds without use after which the container is stopped or paused; null: the tier's limit. */
  @Column({ name: 'auto_stop_seconds', type: 'integer', nullable: true })
  autoStopSeconds: number | null;

  /** What happens to the container when it is idle; null: as its tier says. */
  @Column({ name: 'idle_action', type: 'varchar', length: 16, nullable: true })
  idleAction: IdleAction | null;

  /** Seconds after the stop, or a later use, at which the container is deleted; null: the tier's limit. */
  @Column({ name: 'auto_delete_seconds', type: 'integer', nullable: true })
  autoDeleteSeconds: number | null;

  /** Whether a visitor of a preview, or a user of SSH, starts the container if it is stopped. */
  @Column({ name: 'auto_start', type: 'boolean', default: false })
  autoStart: boolean;

  /** When the last warning about an idle stop or pause was emitted. */
  @Column({ name: 'idle_warned_at', type: TIMESTAMP, nullable: true })
  idleWarnedAt: Date | null;

  /** When the container became `paused`; null: it is not. */
  @Column({ name: 'paused_at', type: TIMESTAMP, nullable: true })
  pausedAt: Date | null;

  /** When the container became `stopped` or `error`; null: it is neither. */
  @Column({ name: 'stopped_at', type: TIMESTAMP, nullable: true })
  stoppedAt: Date | null;

  /** When the last warning about the container's deletion was emitted. */
  @Column({ name: 'deletion_warned_at', type: TIMESTAMP, nullable: true })
  deletionWarnedAt: Date | null;

  /** The command that runs after each start of the container; null: none. */
  @Column({ type: 'simple-json', nullable: true })
  start: StartCommand | null;

  /**
   * The current course of the start command: new for each start of the container and for each new command. null:
   * none.
   */
  @Column({ name: 'start_run', type: 'varchar', length: 36, nullable: true })
  startRun: string | null;

  /**
   * When the start command is due to be started or restarted; null: it runs, will not run again in this course, or
   * there is none.
   */
  @Column({ name: 'start_due_at', type: TIMESTAMP, nullable: true })
  startDueAt: Date | null;

  /** Consecutive failures of the start command. */
  @Column({ name: 'start_failures', type: 'integer', default: 0 })
  startFailures: number;

  /** Whether the running start command became ready: false if it did not in time, null if neither has happened yet. */
  @Column({ name: 'start_ready', type: 'boolean', nullable: true })
  startReady: boolean | null;

  /** The operation that leases the container; null if none does. */
  @Column({ type: 'varchar', length: 16, nullable: true })
  operation: Operation | null;

  /** New for each lease; every write of the operation is conditional on it. */
  @Column({ name: 'operation_id', type: 'varchar', length: 36, nullable: true })
  operationId: string | null;

  /** The process that runs the operation: see `ProcessPresence`. */
  @Column({ name: 'operation_holder', type: 'varchar', length: 36, nullable: true })
  operationHolder: string | null;

  /** Changes with each renewal of the lease; `TERM_OVER` once any process may take the lease over. */
  @Column({ name: 'operation_expires_at', type: TIMESTAMP, nullable: true })
  operationExpiresAt: Date | null;

  /** Asks the holder to cancel at its next step; only a creation does. */
  @Column({ name: 'operation_cancelled', type: 'boolean' })
  operationCancelled: boolean;

  /**
   * Incremented by every write that changes the container, and by each new operation; a write without a lease is
   * conditional on it. Records of use, reachability, start-command courses and role leases leave it unchanged.
   */
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

  /** When the container was deleted by force while Docker still had it (`docker_id`); null: no removal is pending. */
  @Column({ name: 'removal_pending_since', type: TIMESTAMP, nullable: true })
  removalPendingSince: Date | null;
}

/** A container's row as plain data: read, decided on and passed around, never modified. */
export type ContainerRow = Readonly<ContainerEntity>;

/** The result of a start; `resumed` only if the container was paused, the other fields only if it was recreated. */
export interface Started {
  readonly row: ContainerRow;
  readonly resumed?: true;
  readonly recreated?: true;
  readonly old_id?: string;
  readonly volume_kept?: boolean;
  readonly image_changed?: true;
}

/** Every Docker id that a container has or had, so that an old id that a client kept still finds it. */
@Entity('container_docker_ids')
export class DockerIdEntity {
  /** 64 hex digits. */
  @PrimaryColumn({ name: 'docker_id', type: 'varchar', length: 64 })
  engineId: string;

  /** The first 12 hex digits, as Docker prints them. */
  @Index('container_docker_ids_short_id')
  @Column({ name: 'short_id', type: 'varchar', length: 12 })
  shortId: string;

  @Index('container_docker_ids_container_id')
  @Column({ name: 'container_id', type: 'varchar', length: 36 })
  containerId: string;
}

/**
 * The status of a container in its row. Deleted is not a status: a deleted row has `deleted_at` and is invisible.
 *
 * ```
 *            create ok            stop, exit, oom, gone
 *  creating ──────────▶ running ◀──────────────────────▶ stopped
 *     │                    ▲            start, recreate       ▲
 *     │ create failed      │ start (tries the creation again) │
 *     └──────▶ error ──────┴────────────── stop ──────────────┘
 *
 *  running ── pause ──▶ paused ── resume ──▶ running      (its processes are suspended, its memory stays taken)
 *                       paused ── stop, exit, oom, gone ──▶ stopped
 *
 *  every state ── delete ──▶ deleted
 *  every state ── its node is given up ──▶ error
 * ```
 */
export const CONTAINER_STATUSES = ['creating', 'running', 'paused', 'stopped', 'error'] as const;
export type ContainerStatus = (typeof CONTAINER_STATUSES)[number];

/** The permitted transitions; the repository refuses all others. */
export const STATUS_TRANSITIONS: Readonly<Record<ContainerStatus, readonly ContainerStatus[]>> = {
  creating: ['running', 'error'],
  // To `error`: the node, and the data on it, is lost for good.
  running: ['paused', 'stopped', 'error'],
  paused: ['running', 'stopped', 'error'],
  // To `paused`: started and paused outside Berth before an inspection.
  stopped: ['running', 'paused', 'error'],
  error: ['running', 'stopped'],
};

/** The statuses of containers that have processes. */
export const UP_STATUSES = ['running', 'paused'] as const satisfies readonly ContainerStatus[];
export type UpStatus = (typeof UP_STATUSES)[number];

/** Whether the container has processes. */
export function isUp(status: ContainerStatus): boolean {
  return UP_STATUSES.some((up) => up === status);
}

/** Bytes in the unit of sizes. */
export const MIB = 1024 * 1024;

/** The size, in MiB, of all layers that were written in containers once another one, of `bytes`, is kept. */
export function keptWith({ keptLayerMb }: { readonly keptLayerMb: number }, bytes: number): number {
  return keptLayerMb + Math.ceil(bytes / MIB);
}

/** The operations that clients can request; `move`, to another node, is an administrator's. */
export type Verb = 'create' | 'start' | 'stop' | 'pause' | 'resume' | 'delete' | 'update' | 'move' | 'snapshot';

/**
 * Operations, of which one at a time can lease a container. Besides the verbs there are the recoveries of a failed
 * operation: `undo` makes Docker match the row, `reconcile` makes the row match Docker. `restart` is an `undo` that
 * failed itself: by then the row says, correctly, that the container is stopped, and it still has to be started
 * again. `purge` leases a deleted row while its data is removed.
 */
export type Operation = Verb | 'undo' | 'restart' | 'reconcile' | Ending | 'purge';

/**
 * Whether a failed operation is rolled back to the state before it. After the other operations the row follows the
 * state that Docker shows.
 */
export function isRolledBack(operation: Operation | null): boolean {
  return operation !== null && ROLLED_BACK.includes(operation);
}

const ROLLED_BACK: readonly Operation[] = ['update', 'move', 'snapshot', 'undo', 'restart'];

/** What may happen to a container at the end of its lifetime. */
export const END_ACTIONS = ['stop', 'pause', 'delete'] as const;
export type EndAction = (typeof END_ACTIONS)[number];

/** The longest lifetime of a run, in seconds: 30 days. */
export const MAX_LIFETIME_SECONDS = 30 * 24 * 3600;

/**
 * Stops without a request: the session or run is over, its lifetime is over, the container is idle, or its user is
 * suspended.
 */
export type StopEnding = 'expire' | 'lifetime' | 'idle' | 'suspend';

/**
 * Operations without a request: a stop, the pause of a container that is idle or whose lifetime is over, or the
 * deletion of an unused container, of one whose lifetime is over, or of a deleted user's container.
 */
export type Ending = StopEnding | 'idle_pause' | 'auto_delete';

export function isStopEnding(operation: Operation | null): operation is StopEnding {
  return operation === 'expire' || operation === 'lifetime' || operation === 'idle' || operation === 'suspend';
}

export function isDeletion(operation: Operation | null): operation is 'delete' | 'auto_delete' {
  return operation === 'delete' || operation === 'auto_delete';
}

/** Why a container stopped without a request. */
export type StopReason = 'exited' | 'oom' | 'missing' | 'session_expired' | 'lifetime_over' | 'idle' | 'user_suspended';

/** Why a container was paused without a request. */
export type PauseReason = 'idle' | 'lifetime_over';

/**
 * Why a container was deleted without a request: it stayed stopped too long, its guest's session ended long ago, its
 * lifetime is over, its user was deleted, or it is a copy whose fork was interrupted before there was a snapshot to
 * make it from.
 */
export type DeletionReason = 'auto_delete' | 'session_expired' | 'lifetime_over' | 'user_deleted' | 'interrupted';

/** The progress of a container's role, which is installed by exec once the container runs. */
export const ROLE_STATUSES = ['pending', 'installing', 'installed', 'failed'] as const;
export type RoleStatus = (typeof ROLE_STATUSES)[number];

/** The facts about a container in events and short answers. Never `env`: it may hold the user's secrets. */
export class ContainerFactsView implements ContainerFacts {
  @Text(
    'The Docker id, or the database id if there is none. It changes when the container is recreated; former ids ' +
      'keep working as ":id".',
    { pattern: '^([0-9a-f]{64}|[0-9a-f-]{36})$', example: '4f1d2c3b'.repeat(8) },
  )
  readonly id: string;
  @Uuid('The database id, which never changes.') readonly db_id: string;
  @Text({ example: 'dev-environment' }) readonly name: string;
  @Choice(CONTAINER_STATUSES, { enumName: 'ContainerStatus', example: 'running' })
  readonly status: ContainerStatus;
  @Text('Image reference.', { example: 'ubuntu:24.04' }) readonly image: string;
  @Text({ nullable: true, example: 'node' }) readonly role: string | null;
  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'string' },
    example: { team: 'core' },
    description: 'Labels set by the user; Docker does not see them.',
  })
  readonly labels: Readonly<Record<string, string>>;
  @ApiProperty({ type: Resources }) readonly resources: Resources;
  @ApiProperty({ ...NETWORK_POLICY_SCHEMA, description: 'Outbound network access.' })
  readonly network: NetworkPolicy;
}

/** The facts about a container that was just deleted, in its `container_deleted` event. */
export class DeletedContainerFactsView extends OmitType(ContainerFactsView, ['status']) {
  @Choice(['deleted']) readonly status: 'deleted';
}

/** @returns plain data, to be spread into larger objects */
export function containerFacts(row: ContainerRow): Readonly<ContainerFactsView> {
  return {
    id: row.engineId === null ? row.id : plainId(row.engineId),
    db_id: row.id,
    name: row.name,
    status: row.status,
    image: row.image,
    role: row.role,
    labels: row.labels,
    resources: { memory_mb: row.memoryMb, cpu_shares: row.cpuShares, disk_mb: row.diskMb },
    network: row.network,
  };
}
