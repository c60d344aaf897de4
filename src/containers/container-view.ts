import type { ContainerFacts } from '../events';
import type { ContainerRow } from './container.entity';

/** A container as `GET /api/containers/:id` shows it. */
export interface ContainerView extends ContainerFacts {
  readonly user_id: string;
  readonly status_reason: string | null;
  readonly created_at: string;
  readonly updated_at: string;
  readonly last_used_at: string;
  readonly idle_seconds: number;
  readonly expires_at: string | null;
  readonly ip_address: string | null;
  readonly runtime: string | null;
}

/** What events and short answers tell. Never `env`: it may hold the user's secrets. */
export function containerFacts(row: ContainerRow): ContainerFacts {
  return {
    id: row.dockerId ?? row.id,
    db_id: row.id,
    name: row.name,
    status: row.status,
    image: row.image,
    role: row.role,
    resources: { memory_mb: row.memoryMb, cpu_shares: row.cpuShares, disk_mb: row.diskMb },
  };
}

/** @param now for `idle_seconds` */
export function containerView(row: ContainerRow, now: Date): ContainerView {
  return {
    ...containerFacts(row),
    user_id: row.userId,
    status_reason: row.statusReason,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
    last_used_at: row.lastUsedAt.toISOString(),
    idle_seconds: Math.max(0, Math.floor((now.getTime() - row.lastUsedAt.getTime()) / 1000)),
    expires_at: row.expiresAt?.toISOString() ?? null,
    ip_address: row.ipAddress,
    runtime: row.runtime,
  };
}
