import { ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsIn, IsInt, IsOptional, IsString, Matches, Max, Min } from 'class-validator';
import { integerFromQuery } from '../../http';
import { IsLabelSelectors } from '../labels';
import { CONTAINER_NAME, CONTAINER_NAME_RULE } from './container-name';
import { LISTED_STATUSES, type ListedStatus } from './listed-container-view';

/** Query of `GET /api/containers`. */
export class ListContainersDto {
  @ApiPropertyOptional({
    enum: LISTED_STATUSES,
    enumName: 'ListedStatus',
    description:
      '`deleted`: those that can still be restored, with `deleted_at` and `purge_at`. By default all live ones.',
  })
  @IsOptional()
  @IsIn(LISTED_STATUSES)
  status?: ListedStatus;

  @ApiPropertyOptional({ description: 'the exact name' })
  @IsOptional()
  @IsString()
  @Matches(CONTAINER_NAME, { message: CONTAINER_NAME_RULE })
  name?: string;

  @ApiPropertyOptional({
    type: [String],
    example: ['team:core'],
    description: '`key:value`, or a key alone; given several times, all must match',
  })
  @IsOptional()
  @IsLabelSelectors()
  label?: string | readonly string[];

  @ApiPropertyOptional({ minimum: 1, maximum: 100, default: 100 })
  @IsOptional()
  @Transform(integerFromQuery)
  @IsInt()
  @Min(1)
  @Max(100)
  limit?: number;

  @ApiPropertyOptional({ description: '`next_cursor` of the page before' })
  @IsOptional()
  @IsString()
  @Matches(/^[A-Za-z0-9_-]{1,128}$/, { message: 'cursor must be a next_cursor of an earlier answer' })
  cursor?: string;
}
