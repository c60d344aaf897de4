import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsIn, IsOptional, IsString, Matches, MaxLength, ValidateIf } from 'class-validator';
import { LISTED_STATUSES, type ListedStatus } from '../../containers';
import { BodyExample, IsUuidText, PagedQuery } from '../../http';

/** Query of `GET /api/admin/containers`. */
export class ListAnyContainersDto extends PagedQuery {
  @ApiPropertyOptional({ format: 'uuid', description: "one user's alone" })
  @IsOptional()
  @IsUuidText()
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

/** Query of `GET /api/admin/snapshots`. */
export class ListAnySnapshotsDto extends PagedQuery {
  @ApiPropertyOptional({ format: 'uuid', description: "one user's alone" })
  @IsOptional()
  @IsUuidText()
  user_id?: string;
}

/** Body of `POST /api/admin/containers/:id/move`. */
export class MoveContainerDto {
  @ApiPropertyOptional({ example: 'node-2', description: 'its name or id; by default the one that has the most room' })
  @ValidateIf((_body, value) => value !== undefined)
  @IsString()
  @MaxLength(255)
  node?: string;
}

/** Body of `POST /api/admin/nodes/:name/drain`. */
export class DrainNodeDto {
  @ApiPropertyOptional({ example: true, description: 'whether what is on it is moved to others, in the background' })
  @ValidateIf((_body, value) => value !== undefined)
  @IsBoolean()
  move?: boolean;
}

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

/** Body of `PATCH /api/admin/users/:id`. */
@BodyExample({ tier: 'pro' })
export class UpdateUserDto {
  @ApiPropertyOptional({ example: 'pro', description: 'a name of GET /api/tiers' })
  @ValidateIf((_body, value) => value !== undefined)
  @IsString()
  @MaxLength(32)
  tier?: string;

  @ApiPropertyOptional({ example: true, description: 'whether their tokens are refused and their containers stopped' })
  @ValidateIf((_body, value) => value !== undefined)
  @IsBoolean()
  suspended?: boolean;
}
