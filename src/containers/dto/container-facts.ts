import { ApiProperty } from '@nestjs/swagger';
import type { ContainerFacts } from '../../events';
import { Resources } from '../../tiers';
import type { ContainerRow } from '../container.entity';
import { CONTAINER_STATUSES, type ContainerStatus } from '../container-state';

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
