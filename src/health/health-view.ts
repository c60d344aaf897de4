import { ApiProperty } from '@nestjs/swagger';

/** The answer of `GET /health/live`. */
export class LiveView {
  @ApiProperty({ enum: ['ok'] })
  readonly status: 'ok';
}

class FoundView {
  @ApiProperty({
    type: 'object',
    example: { database: 'up', docker: 'up' },
    additionalProperties: { type: 'string', enum: ['up', 'down'] },
  })
  readonly checks: Readonly<Record<string, 'up' | 'down'>>;
  @ApiProperty({ type: String, nullable: true, example: 'runsc', description: 'What sandboxes run under.' })
  readonly runtime: string | null;
  @ApiProperty({
    type: String,
    nullable: true,
    example: 'enforced',
    description: 'Who holds containers to their disk size.',
  })
  readonly disk_quota: string | null;
  @ApiProperty({
    type: String,
    nullable: true,
    example: 'enforced',
    description: 'Whether sandboxes are kept from the machine that they run on.',
  })
  readonly host_firewall: string | null;
  @ApiProperty({
    type: String,
    nullable: true,
    example: 'enforced',
    description: 'Whether a container can have an allow list as its `network`.',
  })
  readonly allow_lists: string | null;
  @ApiProperty({
    type: String,
    enum: ['same', 'changed'],
    nullable: true,
    example: 'same',
    description: 'Whether this is the Docker that the containers and volumes are in, by its own id.',
  })
  readonly docker_identity: 'same' | 'changed' | null;
  @ApiProperty({
    type: String,
    enum: ['any', 'listed'],
    example: 'listed',
    description:
      'Whether requests are served by any name (the server listens beyond loopback, and there are no ALLOWED_HOSTS), or ' +
      'by IP addresses, localhost and the names that are listed.',
  })
  readonly hosts: 'any' | 'listed';
  @ApiProperty({
    type: 'object',
    nullable: true,
    properties: { total_mb: { type: 'integer', minimum: 0 }, free_mb: { type: 'integer', minimum: 0 } },
    example: { total_mb: 102_400, free_mb: 51_200 },
    required: ['total_mb', 'free_mb'],
    selfRequired: true,
    additionalProperties: false,
    description: "The disk of Docker's data, in MiB; null where it is not known, as with a Docker on another machine.",
  })
  readonly disk: { readonly total_mb: number; readonly free_mb: number } | null;
  @ApiProperty({
    type: String,
    enum: ['proving', 'proved', 'failed', 'unproved'],
    nullable: true,
    example: 'proved',
    description:
      'Whether the sandbox that is tried at start does what it must. failed: see notices; unproved: it could not be ' +
      'tried, see the log; null: it was not to be tried.',
  })
  readonly sandbox_proof: 'proving' | 'proved' | 'failed' | 'unproved' | null;
  @ApiProperty({
    type: 'object',
    nullable: true,
    properties: {
      cpu_shares: { type: 'integer', minimum: 0, description: 'Millicores: 10 are 1 % of a core.' },
      advice: { type: 'string', nullable: true, description: 'How to reduce it; null below 1 % of a core.' },
    },
    example: { cpu_shares: 1, advice: null },
    required: ['cpu_shares', 'advice'],
    selfRequired: true,
    additionalProperties: false,
    description:
      'What the sandbox that is tried at start uses while no program runs in it. It does not degrade the status. ' +
      'null: not measured.',
  })
  readonly idle_sandbox: { readonly cpu_shares: number; readonly advice: string | null } | null;
  @ApiProperty({ type: [String], example: [], description: 'What an operator has to see to.' })
  readonly notices: readonly string[];
}

/** The answer of `GET /health/ready`. */
export class ReadyView extends FoundView {
  @ApiProperty({ enum: ['ok', 'degraded'], description: 'degraded: it serves, and there are notices.' })
  readonly status: 'ok' | 'degraded';
}

/** The answer of `GET /health/ready` if a dependency is down: an error that names it. */
export class NotReadyView extends FoundView {
  @ApiProperty({ enum: ['not ready'] })
  readonly error: string;
  @ApiProperty({ enum: ['not_ready'] })
  readonly code: string;
  @ApiProperty({ example: '0b7e5c1a-2f64-4d0e-9a35-6b1f0c2d3e4f' })
  readonly request_id: string;
  @ApiProperty({
    type: 'object',
    example: { database: 'storage_full' },
    additionalProperties: { type: 'string' },
    description: 'Why what is down is down: unavailable, database_busy, database_read_only or storage_full.',
  })
  readonly reasons: Readonly<Record<string, string>>;
  @ApiProperty({ enum: ['error'] })
  readonly status: 'error';
}

export const NOT_READY_EXAMPLE: NotReadyView = {
  error: 'not ready',
  code: 'not_ready',
  request_id: '0b7e5c1a-2f64-4d0e-9a35-6b1f0c2d3e4f',
  status: 'error',
  reasons: { database: 'storage_full' },
  checks: { database: 'down', docker: 'up' },
  runtime: 'runsc',
  disk_quota: 'enforced',
  host_firewall: 'enforced',
  allow_lists: 'enforced',
  docker_identity: 'same',
  hosts: 'listed',
  disk: { total_mb: 102_400, free_mb: 51_200 },
  sandbox_proof: 'proved',
  idle_sandbox: { cpu_shares: 1, advice: null },
  notices: [],
};
