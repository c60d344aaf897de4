import { ApiProperty, ApiPropertyOptional, OmitType } from '@nestjs/swagger';
import type { ContainerRow } from '../container.entity';
import { CONTAINER_STATUSES } from '../container-state';
import { containerView, ContainerView, type ViewedAt } from './container-view';

/** What the list can be asked for; a deleted container is one that can still be restored. */
export const LISTED_STATUSES = [...CONTAINER_STATUSES, 'deleted'] as const;
export type ListedStatus = (typeof LISTED_STATUSES)[number];

/** A container as `GET /api/containers` shows it. */
export class ListedContainerView extends OmitType(ContainerView, ['status']) {
  @ApiProperty({
    enum: LISTED_STATUSES,
    enumName: 'ListedStatus',
    example: 'running',
    description: '`deleted` only in the list of `status=deleted`.',
  })
  readonly status: ListedStatus;
  @ApiPropertyOptional({ format: 'date-time', description: 'Of deleted ones alone.' })
  readonly deleted_at?: string;
  @ApiPropertyOptional({
    type: String,
    format: 'date-time',
    nullable: true,
    description: 'Of deleted ones alone: until when they can be restored; null: for good.',
  })
  readonly purge_at?: string | null;
}

export function listedContainer(row: ContainerRow, at: ViewedAt): ListedContainerView {
  const view = containerView(row, at);
  if (row.deletedAt === null) return view;
  return Object.assign(view, {
    ...({ status: 'deleted', ip_address: null } as const),
    ...{ deleted_at: row.deletedAt.toISOString(), purge_at: row.purgeAt?.toISOString() ?? null },
  });
}
