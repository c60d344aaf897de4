import { ApiProperty } from '@nestjs/swagger';
import { IsString, MaxLength } from 'class-validator';

/** Body of `PATCH /api/admin/users/:id`. */
export class MoveUserDto {
  @ApiProperty({ example: 'pro', description: 'a name of GET /api/tiers' })
  @IsString()
  @MaxLength(32)
  tier: string;
}
