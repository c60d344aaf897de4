import { ApiProperty } from '@nestjs/swagger';
import { ApiNextCursor } from '../../http';
import type { AuditEntryEntity } from '../audit-entry.entity';

const OPTIONAL = { type: String, nullable: true } as const;
const NOT_YOURS = 'null where somebody else did it, but for an admin.';

/** Details of an action inside a container. */
class WorkInsideView {
  @ApiProperty({ ...OPTIONAL, example: 'npm', description: 'The program that was started, without its arguments.' })
  readonly program: string | null;
  @ApiProperty({
    type: 'integer',
    nullable: true,
    minimum: 0,
    example: 1_048_576,
    description: 'Of a file or an archive: taken of the client, or read for it, also where it failed in the middle.',
  })
  readonly bytes: number | null;
}

/** One audited action. */
class AuditEntryView {
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty({ format: 'date-time', description: 'When it began.' })
  readonly at: string;
  @ApiProperty({ example: 'container.start' })
  readonly action: string;
  @ApiProperty({
    example: 'ok',
    description: 'ok, the code of the error, or pending: it is going on, or was cut off by the end of the process.',
  })
  readonly outcome: string;
  @ApiProperty({ ...OPTIONAL, format: 'uuid', description: 'Who did it; null: Berth itself.' })
  readonly user_id: string | null;
  @ApiProperty({ ...OPTIONAL, format: 'uuid', description: `By which token; ${NOT_YOURS}` })
  readonly token_id: string | null;
  @ApiProperty({ ...OPTIONAL, format: 'uuid', description: 'Whose thing it was done to.' })
  readonly subject_user_id: string | null;
  @ApiProperty({ ...OPTIONAL, format: 'uuid', description: 'The database id of the container.' })
  readonly container_id: string | null;
  @ApiProperty({
    ...OPTIONAL,
    example: '4f1d2c3b4f1d',
    description: 'The id as the request had it, or of what was made.',
  })
  readonly target_id: string | null;
  @ApiProperty({ ...OPTIONAL, example: '192.0.2.7', description: `From where; ${NOT_YOURS}` })
  readonly address: string | null;
  @ApiProperty({
    ...OPTIONAL,
    example: '0b7e5c1a-2f64-4d0e-9a35-6b1f0c2d3e4f',
    description: `The x-request-id; ${NOT_YOURS}`,
  })
  readonly request_id: string | null;
  @ApiProperty({ type: WorkInsideView, nullable: true, description: 'null where nothing is known of it.' })
  readonly detail: WorkInsideView | null;
  @ApiProperty({ ...OPTIONAL, format: 'date-time' })
  readonly finished_at: string | null;
}

/** The response of `GET /api/audit`. */
export class AuditListView {
  @ApiProperty({ type: [AuditEntryView], description: 'Newest first.' })
  readonly entries: readonly AuditEntryView[];
  @ApiNextCursor()
  readonly next_cursor: string | null;
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
