import { ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsIn, IsInt, IsOptional, Matches, Max, Min } from 'class-validator';
import { CONTAINER_STATUSES, type ContainerStatus } from '../container-state';
import { CONTAINER_NAME, CONTAINER_NAME_RULE } from './container-name';
import { integerFromQuery } from './integer-from-query';

/** Query of `GET /api/containers`. */
export class ListContainersDto {
  @ApiPropertyOptional({ enum: CONTAINER_STATUSES, enumName: 'ContainerStatus' })
  @IsOptional()
  @IsIn(CONTAINER_STATUSES)
  status?: ContainerStatus;

  @ApiPropertyOptional({ description: 'the exact name' })
  @IsOptional()
  @Matches(CONTAINER_NAME, { message: CONTAINER_NAME_RULE })
  name?: string;

  @ApiPropertyOptional({ minimum: 1, maximum: 100, default: 100 })
  @IsOptional()
  @Transform(integerFromQuery)
  @IsInt()
  @Min(1)
  @Max(100)
  limit?: number;

  @ApiPropertyOptional({ description: '`next_cursor` of the page before' })
  @IsOptional()
  @Matches(/^[A-Za-z0-9_-]{1,128}$/, { message: 'cursor must be a next_cursor of an earlier answer' })
  cursor?: string;
}
