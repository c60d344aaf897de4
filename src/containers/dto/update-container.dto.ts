import { ApiProperty } from '@nestjs/swagger';
import { IsInt, IsString, Matches } from 'class-validator';
import { CONTAINER_NAME, CONTAINER_NAME_RULE } from './container-name';

/** Body of `PATCH /api/containers/:id`; all four are required. */
export class UpdateContainerDto {
  @ApiProperty({ example: 'production-api', description: CONTAINER_NAME_RULE })
  @IsString()
  @Matches(CONTAINER_NAME, { message: CONTAINER_NAME_RULE })
  name: string;

  @ApiProperty({ example: 4096 })
  @IsInt()
  memory_mb: number;

  @ApiProperty({ example: 4000, description: 'millicores: 1000 is one CPU' })
  @IsInt()
  cpu_shares: number;

  @ApiProperty({ example: 20480 })
  @IsInt()
  disk_mb: number;
}
