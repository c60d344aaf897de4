import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { IsBoolean, IsInt, IsOptional, IsString, Max, Min } from 'class-validator';
import { Choice, Count, Flag, Text, Timestamp, Uuid } from '../../api-fields';
import { ApiNextCursor, BodyExample, IsUuidText, PagedQuery, QueryInteger } from '../../http';
import { snapshotFacts, SnapshotFactsView, type SnapshotRow } from '../model/snapshot.entity';
import { CONTAINER_NAME_RULE, DescriptionProperty, Given, LabelFilter, LabelsProperty, NameProperty } from './requests';
import { ContainerFactsView } from '../model/container.entity';
import { ContainerCreatedView } from './responses';

const MAX_COPIES = 10;
const COPIES_RULE = `must be a whole number from 1 to ${String(MAX_COPIES)}`;

const DESCRIBED = { example: 'Node.js 24 and the project' };

/** Body of `POST /api/containers/:id/snapshots`. */
@BodyExample({ labels: { team: 'core' } })
export class CreateSnapshotDto {
  @IsOptional()
  @NameProperty('with-nodejs', `${CONTAINER_NAME_RULE}. Generated if omitted.`)
  name?: string;

  @DescriptionProperty(DESCRIBED)
  description?: string | null;

  @IsOptional()
  @LabelsProperty({ team: 'core' }, 'Labels; the rules for container labels apply.')
  labels?: Record<string, string>;
}

/** Body of `PATCH /api/snapshots/:id`: absent fields stay as they are. */
@ApiSchema({ examples: [{ labels: { team: 'core' } }], minProperties: 1 } as object)
export class UpdateSnapshotDto {
  @Given()
  @NameProperty('with-nodejs')
  name?: string;

  @DescriptionProperty({ ...DESCRIBED, description: 'Null removes the description.' })
  description?: string | null;

  @Given()
  @LabelsProperty({ team: 'core' }, 'Replaces all labels of the snapshot.')
  labels?: Record<string, string>;
}

/** Query of `GET /api/snapshots`. */
export class ListSnapshotsDto extends PagedQuery {
  @Uuid('Database id of a container, which may be deleted.')
  @IsOptional()
  @IsUuidText()
  container?: string;

  @LabelFilter()
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
  @IsOptional()
  @NameProperty('attempt', `${CONTAINER_NAME_RULE}. Generated if omitted. With count, -1, -2 and so on are appended.`)
  name?: string;

  @Count('Number of copies. If given, the response lists them in "containers".', { example: 1 })
  @IsOptional()
  @IsInt({ message: COPIES_RULE })
  @Min(1, { message: COPIES_RULE })
  @Max(MAX_COPIES, { message: COPIES_RULE })
  count?: number;
}

/** Body of `POST /api/containers/:id/restore-snapshot`. */
@ApiSchema({ examples: [{ snapshot: '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11', keep: false }] } as object)
export class RestoreSnapshotDto {
  @Uuid('A snapshot of this container.')
  @IsString()
  @IsUuidText()
  snapshot: string;

  @Flag('Save the current state as a snapshot first; it counts towards the limits.', { default: true })
  @IsOptional()
  @IsBoolean()
  keep?: boolean;
}

/** A snapshot in answers. */
export class SnapshotView extends SnapshotFactsView {
  @Text({ nullable: true, example: null }) readonly description: string | null;
  @Text('Machine-readable reason for the failure; null otherwise.', { nullable: true, example: null })
  readonly status_reason: string | null;
  @Text('Image of the container.', { example: 'ubuntu:24.04' })
  readonly image: string;
  @Text({ nullable: true, example: 'node' }) readonly role: string | null;
  @Count('Disk size of the container when the snapshot was created, in MiB.', { minimum: 1, example: 10_240 })
  readonly disk_mb: number;
  @Count('How long the container was suspended; null if not yet known.', { nullable: true, example: 350 })
  readonly downtime_ms: number | null;
  @Timestamp() readonly created_at: string;
  @Timestamp() readonly updated_at: string;
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
  @Uuid() readonly user_id: string;
}

export function anySnapshotView(row: SnapshotRow): AnySnapshotView {
  return Object.assign(snapshotView(row), { user_id: row.userId });
}

class SnapshotUsageView {
  @Count('Number of snapshots that are ready or being created.', { example: 2 })
  readonly snapshots: number;
  @Count("Maximum allowed by the user's tier.", { example: 5 })
  readonly limit: number;
  @Count({ example: 104_857_600 }) readonly bytes: number;
  @Count({ example: 53_687_091_200 }) readonly limit_bytes: number;
}

/** The response of `GET /api/snapshots`. */
export class SnapshotListView {
  @ApiProperty({ type: [SnapshotView], description: 'Newest first.' })
  readonly snapshots: readonly SnapshotView[];
  @Count('Number of entries on this page.', { example: 2 })
  readonly count: number;
  @ApiProperty({ type: SnapshotUsageView }) readonly usage: SnapshotUsageView;
  @ApiNextCursor() readonly next_cursor: string | null;
}

/** The response of `DELETE /api/snapshots/:id`. */
export class SnapshotDeletedView {
  @Choice(['snapshot deleted']) readonly message: string;
  @Uuid() readonly id: string;
  @Text({ example: 'with-nodejs' }) readonly name: string;
}

/** The response of `POST /api/containers/:id/restore-snapshot`. */
export class SnapshotRestoredView extends ContainerFactsView {
  @Choice(['snapshot restored']) readonly message: string;
  @Flag('True if the container was running and was recreated.')
  readonly restarted: boolean;
  @Uuid('Snapshot that was restored.') readonly snapshot: string;
  @Uuid('Snapshot of the previous state; null if it was not kept.', { nullable: true })
  readonly kept: string | null;
}

/** The response of `POST /api/containers/:id/fork` with `count`. */
export class ForkedContainersView {
  @ApiProperty({ type: [ContainerCreatedView] })
  readonly containers: readonly ContainerCreatedView[];
}
