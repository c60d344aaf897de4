import { ApiProperty, ApiPropertyOptional, ApiSchema } from '@nestjs/swagger';
import { IsBoolean, IsInt, IsOptional, IsString, Matches, Max, Min } from 'class-validator';
import { ApiNextCursor, BodyExample, IsUuidText, PagedQuery, QueryInteger } from '../../http';
import { IsLabels, IsLabelSelectors, LABELS_SCHEMA, MAX_LABELS } from '../model/labels';
import { snapshotFacts, SnapshotFactsView, type SnapshotRow } from '../model/snapshot.entity';
import { AsSent, CONTAINER_NAME, CONTAINER_NAME_RULE, DescriptionProperty, Given } from './requests';
import { ContainerFactsView } from '../model/container.entity';
import { ContainerCreatedView } from './responses';

const MAX_COPIES = 10;
const COPIES_RULE = `must be a whole number from 1 to ${String(MAX_COPIES)}`;

const DESCRIBED = { example: 'Node.js 24 and the project' };
const LABELS = { ...LABELS_SCHEMA, example: { team: 'core' } };

/** Body of `POST /api/containers/:id/snapshots`. */
@BodyExample({ labels: { team: 'core' } })
export class CreateSnapshotDto {
  @ApiPropertyOptional({ example: 'with-nodejs', description: `${CONTAINER_NAME_RULE}; made up if absent` })
  @IsOptional()
  @IsString()
  @Matches(CONTAINER_NAME, { message: CONTAINER_NAME_RULE })
  name?: string;

  @DescriptionProperty(DESCRIBED)
  description?: string | null;

  @ApiPropertyOptional({ ...LABELS, description: 'as those of containers' })
  @IsOptional()
  @AsSent()
  @IsLabels()
  labels?: Record<string, string>;
}

/** Body of `PATCH /api/snapshots/:id`: absent fields stay as they are. */
@ApiSchema({ examples: [{ labels: { team: 'core' } }], minProperties: 1 } as object)
export class UpdateSnapshotDto {
  @ApiPropertyOptional({ example: 'with-nodejs', description: CONTAINER_NAME_RULE })
  @Given()
  @IsString()
  @Matches(CONTAINER_NAME, { message: CONTAINER_NAME_RULE })
  name?: string;

  @DescriptionProperty({ ...DESCRIBED, description: 'null: none' })
  description?: string | null;

  @ApiPropertyOptional({ ...LABELS, description: 'all that the snapshot has from now on' })
  @Given()
  @AsSent()
  @IsLabels()
  labels?: Record<string, string>;
}

/** Query of `GET /api/snapshots`. */
export class ListSnapshotsDto extends PagedQuery {
  @ApiPropertyOptional({ format: 'uuid', description: 'the database id of a container, which may be deleted' })
  @IsOptional()
  @IsUuidText()
  container?: string;

  @ApiPropertyOptional({
    type: [String],
    maxItems: MAX_LABELS,
    example: ['team:core'],
    description: '`key:value`, or a key alone; given several times, all must match',
  })
  @IsOptional()
  @IsLabelSelectors()
  label?: string | readonly string[];
}

/** Query of `GET /api/snapshots/:id/wait`. */
export class WaitSnapshotDto {
  @QueryInteger({ min: 0, max: 120, default: 30, description: 'seconds' })
  timeout?: number;
}

/** Body of `POST /api/containers/:id/fork`. */
@BodyExample({ count: 1 })
export class ForkContainerDto {
  @ApiPropertyOptional({
    example: 'attempt',
    description: `${CONTAINER_NAME_RULE}; made up if absent. With count, -1, -2 and so on are added`,
  })
  @IsOptional()
  @IsString()
  @Matches(CONTAINER_NAME, { message: CONTAINER_NAME_RULE })
  name?: string;

  @ApiPropertyOptional({
    type: 'integer',
    minimum: 1,
    maximum: MAX_COPIES,
    example: 1,
    description: 'how many copies; then the answer has them as "containers"',
  })
  @IsOptional()
  @IsInt({ message: COPIES_RULE })
  @Min(1, { message: COPIES_RULE })
  @Max(MAX_COPIES, { message: COPIES_RULE })
  count?: number;
}

/** Body of `POST /api/containers/:id/restore-snapshot`. */
@ApiSchema({ examples: [{ snapshot: '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11', keep: false }] } as object)
export class RestoreSnapshotDto {
  @ApiProperty({ format: 'uuid', description: 'one of the container' })
  @IsString()
  @IsUuidText()
  snapshot: string;

  @ApiPropertyOptional({
    default: true,
    description: 'whether the present state is kept as a snapshot, which counts towards the limits',
  })
  @IsOptional()
  @IsBoolean()
  keep?: boolean;
}

/** A snapshot in answers. */
export class SnapshotView extends SnapshotFactsView {
  @ApiProperty({ type: String, nullable: true, example: null })
  readonly description: string | null;
  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description: 'A machine word: why it failed; null otherwise.',
  })
  readonly status_reason: string | null;
  @ApiProperty({ example: 'ubuntu:24.04', description: 'The image of its container.' })
  readonly image: string;
  @ApiProperty({ type: String, nullable: true, example: 'node' })
  readonly role: string | null;
  @ApiProperty({
    type: 'integer',
    minimum: 1,
    example: 10_240,
    description: 'MiB: the disk size of its container when it was made.',
  })
  readonly disk_mb: number;
  @ApiProperty({
    type: 'integer',
    minimum: 0,
    nullable: true,
    example: 350,
    description: 'How long its container was suspended; null before that is known.',
  })
  readonly downtime_ms: number | null;
  @ApiProperty({ format: 'date-time' })
  readonly created_at: string;
  @ApiProperty({ format: 'date-time' })
  readonly updated_at: string;
}

export function snapshotView(row: SnapshotRow): SnapshotView {
  return Object.assign({}, snapshotFacts(row), {
    description: row.description,
    status_reason: row.statusReason,
    image: row.image,
    role: row.role,
    disk_mb: row.diskMb,
    downtime_ms: row.downtimeMs,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  });
}

/** A snapshot as administrators see it. */
export class AnySnapshotView extends SnapshotView {
  @ApiProperty({ format: 'uuid' })
  readonly user_id: string;
}

export function anySnapshotView(row: SnapshotRow): AnySnapshotView {
  return Object.assign(snapshotView(row), { user_id: row.userId });
}

class SnapshotUsageView {
  @ApiProperty({ type: 'integer', minimum: 0, example: 2, description: 'Those that are ready or being made.' })
  readonly snapshots: number;
  @ApiProperty({ type: 'integer', minimum: 0, example: 5, description: "How many the user's tier allows." })
  readonly limit: number;
  @ApiProperty({ type: 'integer', minimum: 0, example: 104_857_600 })
  readonly bytes: number;
  @ApiProperty({ type: 'integer', minimum: 0, example: 53_687_091_200 })
  readonly limit_bytes: number;
}

/** The response of `GET /api/snapshots`. */
export class SnapshotListView {
  @ApiProperty({ type: [SnapshotView], description: 'Newest first.' })
  readonly snapshots: readonly SnapshotView[];
  @ApiProperty({ type: 'integer', minimum: 0, example: 2, description: 'How many there are in this answer.' })
  readonly count: number;
  @ApiProperty({ type: SnapshotUsageView })
  readonly usage: SnapshotUsageView;
  @ApiNextCursor()
  readonly next_cursor: string | null;
}

/** The response of `DELETE /api/snapshots/:id`. */
export class SnapshotDeletedView {
  @ApiProperty({ enum: ['snapshot deleted'] })
  readonly message: string;
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty({ example: 'with-nodejs' })
  readonly name: string;
}

/** The response of `POST /api/containers/:id/restore-snapshot`. */
export class SnapshotRestoredView extends ContainerFactsView {
  @ApiProperty({ enum: ['snapshot restored'] })
  readonly message: string;
  @ApiProperty({ description: 'Whether it ran and was recreated.' })
  readonly restarted: boolean;
  @ApiProperty({ type: String, format: 'uuid', description: 'The snapshot that it was returned to.' })
  readonly snapshot: string;
  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    description: 'The snapshot of the state before; null if that was not to be kept.',
  })
  readonly kept: string | null;
}

/** The response of `POST /api/containers/:id/fork` with `count`. */
export class ForkedContainersView {
  @ApiProperty({ type: [ContainerCreatedView] })
  readonly containers: readonly ContainerCreatedView[];
}
