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
  @ApiPropertyOptional({ example: 'with-nodejs', description: `${CONTAINER_NAME_RULE}. Generated if omitted.` })
  @IsOptional()
  @IsString()
  @Matches(CONTAINER_NAME, { message: CONTAINER_NAME_RULE })
  name?: string;

  @DescriptionProperty(DESCRIBED)
  description?: string | null;

  @ApiPropertyOptional({ ...LABELS, description: 'Labels; the rules for container labels apply.' })
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

  @DescriptionProperty({ ...DESCRIBED, description: 'Null removes the description.' })
  description?: string | null;

  @ApiPropertyOptional({ ...LABELS, description: 'Replaces all labels of the snapshot.' })
  @Given()
  @AsSent()
  @IsLabels()
  labels?: Record<string, string>;
}

/** Query of `GET /api/snapshots`. */
export class ListSnapshotsDto extends PagedQuery {
  @ApiPropertyOptional({ format: 'uuid', description: 'Database id of a container, which may be deleted.' })
  @IsOptional()
  @IsUuidText()
  container?: string;

  @ApiPropertyOptional({
    type: [String],
    maxItems: MAX_LABELS,
    example: ['team:core'],
    description: '`key:value`, or only a key. Repeatable; all must match.',
  })
  @IsOptional()
  @IsLabelSelectors()
  label?: string | readonly string[];
}

/** Query of `GET /api/snapshots/:id/wait`. */
export class WaitSnapshotDto {
  @QueryInteger({ min: 0, max: 120, default: 30, description: 'Timeout in seconds.' })
  timeout?: number;
}

/** Body of `POST /api/containers/:id/fork`. */
@BodyExample({ count: 1 })
export class ForkContainerDto {
  @ApiPropertyOptional({
    example: 'attempt',
    description: `${CONTAINER_NAME_RULE}. Generated if omitted. With count, -1, -2 and so on are appended.`,
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
    description: 'Number of copies. If given, the response lists them in "containers".',
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
  @ApiProperty({ format: 'uuid', description: 'A snapshot of this container.' })
  @IsString()
  @IsUuidText()
  snapshot: string;

  @ApiPropertyOptional({
    default: true,
    description: 'Save the current state as a snapshot first; it counts towards the limits.',
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
    description: 'Machine-readable reason for the failure; null otherwise.',
  })
  readonly status_reason: string | null;
  @ApiProperty({ example: 'ubuntu:24.04', description: 'Image of the container.' })
  readonly image: string;
  @ApiProperty({ type: String, nullable: true, example: 'node' })
  readonly role: string | null;
  @ApiProperty({
    type: 'integer',
    minimum: 1,
    example: 10_240,
    description: 'Disk size of the container when the snapshot was created, in MiB.',
  })
  readonly disk_mb: number;
  @ApiProperty({
    type: 'integer',
    minimum: 0,
    nullable: true,
    example: 350,
    description: 'How long the container was suspended; null if not yet known.',
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
  @ApiProperty({
    type: 'integer',
    minimum: 0,
    example: 2,
    description: 'Number of snapshots that are ready or being created.',
  })
  readonly snapshots: number;
  @ApiProperty({ type: 'integer', minimum: 0, example: 5, description: "Maximum allowed by the user's tier." })
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
  @ApiProperty({ type: 'integer', minimum: 0, example: 2, description: 'Number of entries on this page.' })
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
  @ApiProperty({ description: 'True if the container was running and was recreated.' })
  readonly restarted: boolean;
  @ApiProperty({ type: String, format: 'uuid', description: 'Snapshot that was restored.' })
  readonly snapshot: string;
  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    description: 'Snapshot of the previous state; null if it was not kept.',
  })
  readonly kept: string | null;
}

/** The response of `POST /api/containers/:id/fork` with `count`. */
export class ForkedContainersView {
  @ApiProperty({ type: [ContainerCreatedView] })
  readonly containers: readonly ContainerCreatedView[];
}
