import { ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsInt, IsOptional, IsString, Matches, Max, Min } from 'class-validator';
import { integerFromQuery } from './integer-from-query';

/** The largest page. */
const LARGEST = 200;

/** The query of a list with pages; what else it can be asked for, its own class adds. */
export class PagedQuery {
  @ApiPropertyOptional({ type: 'integer', minimum: 1, maximum: LARGEST, default: 100 })
  @IsOptional()
  @Transform(integerFromQuery)
  @IsInt()
  @Min(1)
  @Max(LARGEST)
  limit?: number;

  @ApiPropertyOptional({ description: '`next_cursor` of the page before' })
  @IsOptional()
  @IsString()
  @Matches(/^[A-Za-z0-9_-]{1,128}$/, { message: 'cursor must be a next_cursor of an earlier answer' })
  cursor?: string;
}
