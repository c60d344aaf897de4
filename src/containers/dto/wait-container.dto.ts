import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsIn, IsInt, IsOptional, Max, Min } from 'class-validator';
import { integerFromQuery } from '../../http';
import { CONTAINER_STATUSES, type ContainerStatus } from '../container-state';

/** Query of `GET /api/containers/:id/wait`. */
export class WaitContainerDto {
  @ApiProperty({ enum: CONTAINER_STATUSES, enumName: 'ContainerStatus' })
  @IsIn(CONTAINER_STATUSES)
  status: ContainerStatus;

  @ApiPropertyOptional({ minimum: 0, maximum: 120, default: 30, description: 'seconds' })
  @IsOptional()
  @Transform(integerFromQuery)
  @IsInt()
  @Min(0)
  @Max(120)
  timeout?: number;
}
