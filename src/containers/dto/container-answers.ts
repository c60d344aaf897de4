import { ApiProperty, ApiPropertyOptional, PickType } from '@nestjs/swagger';
import type { Tier } from '../../tiers';
import type { ContainerRow } from '../container.entity';
import type { Started } from '../lifecycle/started';
import { containerFacts, ContainerFactsView } from './container-facts';

/** What `POST /api/containers` answers. */
export class ContainerCreatedView extends ContainerFactsView {
  @ApiProperty({ format: 'uuid' })
  readonly user_id: string;
  @ApiProperty({ format: 'date-time' })
  readonly created_at: string;
  @ApiProperty({ type: Boolean, enum: [true], description: 'The creation goes on in the background.' })
  readonly async: true;
  @ApiProperty({ example: 'container is being created' })
  readonly message: string;
  @ApiPropertyOptional({
    format: 'date-time',
    description: 'Of guests alone: when their session ends, and with it the run.',
  })
  readonly expires_at?: string;
  @ApiPropertyOptional({
    example: 180_000,
    description: 'How long a session or run may last, where the tier sets a limit: see session_seconds of the tier.',
  })
  readonly session_limit_seconds?: number;
}

/** What `POST /api/containers/:id/stop` answers. */
export class ContainerStoppedView extends PickType(ContainerFactsView, ['id', 'name', 'status']) {
  @ApiProperty({ example: 'container stopped' })
  readonly message: string;
}

/** What `POST /api/containers/:id/start` answers. */
export class ContainerStartedView extends PickType(ContainerFactsView, ['id', 'name', 'status']) {
  @ApiProperty({ enum: ['container started', 'container recreated and started'] })
  readonly message: string;
  @ApiPropertyOptional({
    type: Boolean,
    enum: [true],
    description: 'Only where the container had vanished from Docker and was made anew, as the two below.',
  })
  readonly recreated?: true;
  @ApiPropertyOptional({ example: '9a8b7c6d'.repeat(8), description: 'The Docker id until now.' })
  readonly old_id?: string;
  @ApiPropertyOptional({ description: 'Whether the data volume was still there.' })
  readonly volume_kept?: boolean;
}

/** What `DELETE /api/containers/:id` answers. */
export class ContainerDeletedView extends PickType(ContainerFactsView, ['id', 'db_id', 'name']) {
  @ApiProperty({ example: 'container deleted' })
  readonly message: string;
  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description: 'Until when the data volume is kept at least; null: for good.',
  })
  readonly purge_at: string | null;
}

/** What `POST /api/containers/:id/restore` answers. */
export class ContainerRestoredView extends PickType(ContainerFactsView, ['id', 'db_id', 'name', 'status']) {
  @ApiProperty({ example: 'container restored' })
  readonly message: string;
}

/** What `PATCH /api/containers/:id` answers. */
export class ContainerUpdatedView {
  @ApiProperty({ example: 'settings updated' })
  readonly message: string;
  @ApiProperty({ description: 'Whether a running container was made anew, so that its programs were started again.' })
  readonly restarted: boolean;
  @ApiProperty({ type: ContainerFactsView })
  readonly container: ContainerFactsView;
}

/** What bounds the container's run is told with it: the caller's session, and the limit of their tier. */
export function created(
  row: ContainerRow,
  { session, tier }: { session: { sessionExpiresAt: Date | null }; tier: Pick<Tier, 'sessionSeconds'> },
): ContainerCreatedView {
  const { id, db_id, name, image, role, labels, status, resources } = containerFacts(row);
  return {
    ...{ id, db_id, user_id: row.userId, name, image, role, status, created_at: row.createdAt.toISOString() },
    ...{ async: true, message: 'container is being created', resources, labels },
    ...(session.sessionExpiresAt && { expires_at: session.sessionExpiresAt.toISOString() }),
    ...(tier.sessionSeconds !== null && { session_limit_seconds: tier.sessionSeconds }),
  };
}

export function started({ row, ...recreation }: Started): ContainerStartedView {
  const { id, name, status } = containerFacts(row);
  const message = recreation.recreated ? 'container recreated and started' : 'container started';
  return { message, id, name, status, ...recreation };
}

export function stopped(row: ContainerRow): ContainerStoppedView {
  const { id, name, status } = containerFacts(row);
  return { message: 'container stopped', id, name, status };
}

export function deleted(row: ContainerRow): ContainerDeletedView {
  const { id, db_id, name } = containerFacts(row);
  return { message: 'container deleted', id, db_id, name, purge_at: row.purgeAt?.toISOString() ?? null };
}

export function restored(row: ContainerRow): ContainerRestoredView {
  const { id, db_id, name, status } = containerFacts(row);
  return { message: 'container restored', id, db_id, name, status };
}

export function updated({ row, restarted }: { row: ContainerRow; restarted: boolean }): ContainerUpdatedView {
  return { message: 'settings updated', restarted, container: containerFacts(row) };
}
