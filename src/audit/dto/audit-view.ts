import { ApiProperty } from '@nestjs/swagger';
import { Count, Text, Timestamp, Uuid } from '../../api-fields';
import { ApiNextCursor } from '../../http';
import type { AuditEntryEntity } from '../audit-entry.entity';

const OPTIONAL = { type: String, nullable: true } as const;
const NOT_YOURS = 'null if another user acted, except for administrators.';

/** Details of an action inside a container. */
class WorkInsideView {
  @ApiProperty({ ...OPTIONAL, example: 'npm', description: 'Program that was started, without its arguments.' })
  readonly program: string | null;
  @Count('Bytes of the file or archive that were transferred, including failed transfers.', {
    nullable: true,
    example: 1_048_576,
  })
  readonly bytes: number | null;
}

/** One audited action. */
class AuditEntryView {
  @Uuid() readonly id: string;
  @Timestamp('Start of the action.') readonly at: string;
  @Text({ example: 'container.start' }) readonly action: string;
  @Text('`ok`, an error code, or `pending`: the action is in progress, or the server stopped during it.', {
    example: 'ok',
  })
  readonly outcome: string;
  @ApiProperty({ ...OPTIONAL, format: 'uuid', description: 'User who acted; null for Berth itself.' })
  readonly user_id: string | null;
  @ApiProperty({ ...OPTIONAL, format: 'uuid', description: `Token used; ${NOT_YOURS}` })
  readonly token_id: string | null;
  @ApiProperty({ ...OPTIONAL, format: 'uuid', description: 'Owner of the affected resource.' })
  readonly subject_user_id: string | null;
  @ApiProperty({ ...OPTIONAL, format: 'uuid', description: 'Database id of the container.' })
  readonly container_id: string | null;
  @ApiProperty({
    ...OPTIONAL,
    example: '4f1d2c3b4f1d',
    description: 'Id as given in the request, or of the created resource.',
  })
  readonly target_id: string | null;
  @ApiProperty({ ...OPTIONAL, example: '192.0.2.7', description: `Client address; ${NOT_YOURS}` })
  readonly address: string | null;
  @ApiProperty({
    ...OPTIONAL,
    example: '0b7e5c1a-2f64-4d0e-9a35-6b1f0c2d3e4f',
    description: `Value of x-request-id; ${NOT_YOURS}`,
  })
  readonly request_id: string | null;
  @ApiProperty({ type: WorkInsideView, nullable: true, description: 'Null if there are no details.' })
  readonly detail: WorkInsideView | null;
  @ApiProperty({ ...OPTIONAL, format: 'date-time' })
  readonly finished_at: string | null;
}

/** The response of `GET /api/audit`. */
export class AuditListView {
  @ApiProperty({ type: [AuditEntryView], description: 'Newest first.' })
  readonly entries: readonly AuditEntryView[];
  @ApiNextCursor() readonly next_cursor: string | null;
}

/** @param viewer the id of the user who reads the entry; null: an administrator, who may see every field */
export function viewEntry(entry: AuditEntryEntity, viewer: string | null): AuditEntryView {
  const own = viewer === null || entry.userId === viewer;
  return {
    id: entry.id,
    at: entry.at.toISOString(),
    action: entry.action,
    outcome: entry.outcome,
    user_id: entry.userId,
    token_id: own ? entry.tokenId : null,
    subject_user_id: entry.subjectUserId,
    container_id: entry.containerId,
    target_id: entry.targetId,
    address: own ? entry.address : null,
    request_id: own ? entry.requestId : null,
    detail: entry.detail && { program: entry.detail.program ?? null, bytes: entry.detail.bytes ?? null },
    finished_at: entry.finishedAt?.toISOString() ?? null,
  };
}
