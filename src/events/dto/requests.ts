import { ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsInt, IsOptional, Max, Min } from 'class-validator';
import { integerFromQuery } from '../../http';

/** Query of `GET /api/events`. */
export class ListEventsDto {
  @ApiPropertyOptional({ type: 'integer', default: 0, description: 'the last seq seen' })
  @IsOptional()
  @Transform(integerFromQuery)
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  after?: number;

  @ApiPropertyOptional({ type: 'integer', default: 100 })
  @IsOptional()
  @Transform(integerFromQuery)
  @IsInt()
  @Min(1)
  @Max(500)
  limit?: number;
}

/** Query of `GET /api/events/stream`. */
export class FollowEventsDto {
  @ApiPropertyOptional({
    type: 'integer',
    description: 'the last seq seen; what came after it is sent first, in order. From now on if absent',
  })
  @IsOptional()
  @Transform(integerFromQuery)
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  after?: number;
}
