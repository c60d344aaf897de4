import { ApiProperty } from '@nestjs/swagger';
import { Choice, Text } from '../api-fields';

/** The answer of `GET /health/live`. */
export class LiveView {
  @Choice(['ok']) readonly status: 'ok';
}

class FoundView {
  @ApiProperty({
    type: 'object',
    example: { database: 'up', docker: 'up' },
    additionalProperties: { type: 'string', enum: ['up', 'down'] },
  })
  readonly checks: Readonly<Record<string, 'up' | 'down'>>;
  @Text('Runtime of the sandboxes.', { nullable: true, example: 'runsc' })
  readonly runtime: string | null;
  @Text('How the disk size of containers is enforced.', { nullable: true, example: 'enforced' })
  readonly disk_quota: string | null;
  @Text('Whether sandboxes are blocked from reaching their host.', { nullable: true, example: 'enforced' })
  readonly host_firewall: string | null;
  @Text('Whether containers can use an allow list as their `network`.', { nullable: true, example: 'enforced' })
  readonly allow_lists: string | null;
  @Choice(
    ['same', 'changed'],
    'Whether this is the Docker daemon, identified by its id, that holds the containers and volumes.',
    { nullable: true, example: 'same' },
  )
  readonly docker_identity: 'same' | 'changed' | null;
  @Choice(
    ['any', 'listed'],
    'Whether all host names are accepted (the server listens beyond loopback and ALLOWED_HOSTS is empty), or ' +
      'only IP addresses, localhost and the listed names.',
    { example: 'listed' },
  )
  readonly hosts: 'any' | 'listed';
  @ApiProperty({
    type: 'object',
    nullable: true,
    properties: { total_mb: { type: 'integer', minimum: 0 }, free_mb: { type: 'integer', minimum: 0 } },
    example: { total_mb: 102_400, free_mb: 51_200 },
    required: ['total_mb', 'free_mb'],
    selfRequired: true,
    additionalProperties: false,
    description: "The disk with Docker's data, in MiB; null if unknown, for example on a remote Docker host.",
  })
  readonly disk: { readonly total_mb: number; readonly free_mb: number } | null;
  @Choice(
    ['proving', 'proved', 'failed', 'unproved'],
    'Result of the sandbox test at start. failed: see notices. unproved: the test could not run, see the log. ' +
      'null: the test is off.',
    { nullable: true, example: 'proved' },
  )
  readonly sandbox_proof: 'proving' | 'proved' | 'failed' | 'unproved' | null;
  @ApiProperty({
    type: 'object',
    nullable: true,
    properties: {
      cpu_shares: { type: 'integer', minimum: 0, description: 'Millicores: 10 are 1 % of a core.' },
      advice: { type: 'string', nullable: true, description: 'How to reduce the usage; null below 1 % of a core.' },
    },
    example: { cpu_shares: 1, advice: null },
    required: ['cpu_shares', 'advice'],
    selfRequired: true,
    additionalProperties: false,
    description:
      'CPU used by the test sandbox while no program runs in it; it does not degrade the status. Null if not measured.',
  })
  readonly idle_sandbox: { readonly cpu_shares: number; readonly advice: string | null } | null;
  @ApiProperty({ type: [String], example: [], description: 'Problems that need an operator.' })
  readonly notices: readonly string[];
}

/** The answer of `GET /health/ready`. */
export class ReadyView extends FoundView {
  @Choice(['ok', 'degraded'], 'degraded: requests are served, but there are notices.')
  readonly status: 'ok' | 'degraded';
}

/** The answer of `GET /health/ready` if a dependency is down: an error that names it. */
export class NotReadyView extends FoundView {
  @Choice(['not ready']) readonly error: string;
  @Choice(['not_ready']) readonly code: string;
  @Text({ example: '0b7e5c1a-2f64-4d0e-9a35-6b1f0c2d3e4f' })
  readonly request_id: string;
  @ApiProperty({
    type: 'object',
    example: { database: 'storage_full' },
    additionalProperties: { type: 'string' },
    description: 'Reason for each failing component: unavailable, database_busy, database_read_only or storage_full.',
  })
  readonly reasons: Readonly<Record<string, string>>;
  @Choice(['error']) readonly status: 'error';
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
