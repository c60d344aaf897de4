import { Column, DeleteDateColumn, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';
import type { ContainerStatus, Operation, RoleStatus } from './container-state';

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

  /** Another time with each renewal of that claim; `TERM_OVER` once it is left. */
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

  /** Made anew for each claim; every write of the operation carries it. */
  @Column({ name: 'operation_id', type: 'varchar', length: 36, nullable: true })
  operationId: string | null;

  /** The process whose operation it is: see `ProcessPresence`. */
  @Column({ name: 'operation_holder', type: 'varchar', length: 36, nullable: true })
  operationHolder: string | null;

  /** Another time with each renewal of the claim; `TERM_OVER` once anyone may take it over. */
  @Column({ name: 'operation_expires_at', type: TIMESTAMP, nullable: true })
  operationExpiresAt: Date | null;

  /** Asks the holder to give up at its next step; only a creation listens. */
  @Column({ name: 'operation_cancelled', type: 'boolean' })
  operationCancelled: boolean;

  /** Grows with every write; a write without a claim is conditional on it. */
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
