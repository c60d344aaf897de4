import { ApiProperty } from '@nestjs/swagger';
import type { ContainerRow } from '../container.entity';
import { ROLE_STATUSES, type RoleStatus } from '../container-state';
import { containerFacts, ContainerFactsView } from './container-facts';

/** A container as `GET /api/containers/:id` shows it. */
export class ContainerView extends ContainerFactsView {
  @ApiProperty({ format: 'uuid' })
  readonly user_id: string;
  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description:
      'A machine word: why the status is what it is, such as image_not_found or oom; null where that is plain.',
  })
  readonly status_reason: string | null;
  @ApiProperty({
    enum: ROLE_STATUSES,
    enumName: 'RoleStatus',
    nullable: true,
    example: 'installed',
    description:
      'How far the installation of the role is, which goes on in the background; null where there is nothing to install.',
  })
  readonly role_status: RoleStatus | null;
  @ApiProperty({ format: 'date-time' })
  readonly created_at: string;
  @ApiProperty({ format: 'date-time' })
  readonly updated_at: string;
  @ApiProperty({ format: 'date-time' })
  readonly last_used_at: string;
  @ApiProperty({ type: 'integer', minimum: 0, example: 120, description: 'Whole seconds since last_used_at.' })
  readonly idle_seconds: number;
  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description:
      "When the run ends by itself, or the guest's session, which ends every run. null where neither does: also whenever " +
      'a container without such a session does not run.',
  })
  readonly expires_at: string | null;
  @ApiProperty({ type: String, nullable: true, example: '172.20.0.2', description: 'null where it does not run.' })
  readonly ip_address: string | null;
  @ApiProperty({
    type: String,
    nullable: true,
    example: 'runsc',
    description: 'What it runs under: runsc (gVisor) or runc; null before the first run.',
  })
  readonly runtime: string | null;
}

/** What a row alone does not tell of its view. */
export interface ViewedAt {
  readonly now: Date;
  /** When the session of the container's user ends; null: they have none. */
  readonly sessionEnd: Date | null;
}

export function containerView(row: ContainerRow, { now, sessionEnd }: ViewedAt): ContainerView {
  // A row keeps the end of a run that its container vanished from: the next start goes on with it.
  const end = row.status === 'running' && row.deletedAt === null ? row.expiresAt : sessionEnd;
  // Not spread into a literal: each member behind a spread costs V8 a microsecond, and a list has many.
  return Object.assign(containerFacts(row), {
    user_id: row.userId,
    status_reason: row.statusReason,
    role_status: row.roleStatus,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
    last_used_at: row.lastUsedAt.toISOString(),
    idle_seconds: Math.max(0, Math.floor((now.getTime() - row.lastUsedAt.getTime()) / 1000)),
    expires_at: end?.toISOString() ?? null,
    ip_address: row.ipAddress,
    runtime: row.runtime,
  });
}
