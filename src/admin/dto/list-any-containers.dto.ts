import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsOptional, IsUUID } from 'class-validator';
import { LISTED_STATUSES, type ListedStatus } from '../../containers';
import { PagedQuery } from '../../http';

/** Query of `GET /api/admin/containers`. */
export class ListAnyContainersDto extends PagedQuery {
  @ApiPropertyOptional({ format: 'uuid', description: "one user's alone" })
  @IsOptional()
  @IsUUID()
  user_id?: string;

  @ApiPropertyOptional({
    enum: LISTED_STATUSES,
    enumName: 'ListedStatus',
    description: '`deleted`: those that can still be restored. By default all live ones.',
  })
  @IsOptional()
  @IsIn(LISTED_STATUSES)
  status?: ListedStatus;
}
