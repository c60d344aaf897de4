import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsOptional, IsString, Matches } from 'class-validator';
import { PagedQuery } from '../../http';

/** Query of `GET /api/admin/users`. */
export class ListUsersDto extends PagedQuery {
  @ApiPropertyOptional({ example: 'ada', description: 'the exact name' })
  @IsOptional()
  @IsString()
  @Matches(/^[A-Za-z0-9._@~-]{1,64}$/, { message: 'username must be the name of a user' })
  username?: string;

  @ApiPropertyOptional({ example: 'free' })
  @IsOptional()
  @IsString()
  @Matches(/^[A-Za-z0-9_-]{1,32}$/, { message: 'tier must be the name of a tier' })
  tier?: string;
}
