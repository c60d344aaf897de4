import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsIn, IsOptional, IsString, Matches, MaxLength, ValidateIf } from 'class-validator';
import { type RouteScope, TokenDaysField, TokenScopesField } from '../../auth';
import { LISTED_STATUSES, type ListedStatus } from '../../containers';
import { BodyExample, IsUuidText, PagedQuery, printable, printableName } from '../../http';

/** Maximum length of a text to search for: longer than any name of an image. */
const LONGEST_SEARCH = 255;

/** An optional text to search for, without regard to upper and lower case. */
function Search(example: string, description: string): PropertyDecorator {
  return applyDecorators(
    ApiPropertyOptional({ maxLength: LONGEST_SEARCH, example, description }),
    IsOptional(),
    IsString(),
    Matches(printable(LONGEST_SEARCH), { message: 'search must be at most 255 printable characters' }),
  );
}

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

  @Search(
    'worker',
    "a part of the container's name, of its image's, of its user's or of its node's, or the beginning of its database id",
  )
  search?: string;

  @ApiPropertyOptional({ example: 'node-2', description: 'with several machines: those on the one of this name or id' })
  @IsOptional()
  @IsString()
  @Matches(printable(255), { message: 'node must be the name or id of a machine' })
  node?: string;
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

  @Search('ada', 'a part of the name')
  search?: string;

  @ApiPropertyOptional({ example: 'free' })
  @IsOptional()
  @IsString()
  @Matches(/^[A-Za-z0-9_-]{1,32}$/, { message: 'tier must be the name of a tier' })
  tier?: string;
}

/** Body of `POST /api/admin/users`. */
@BodyExample({ username: 'grace', tier: 'pro', scopes: ['read', 'write', 'exec'], expires_in: 90 })
export class CreateUserDto {
  @ApiProperty({
    example: 'ada',
    description: '1 to 64 of letters, digits, ".", "_", "@" and "-", beginning with a letter or digit.',
  })
  @IsString()
  @MaxLength(64)
  readonly username: string;

  @ApiProperty({ example: 'pro', description: 'A name of GET /api/tiers.' })
  @IsString()
  @MaxLength(32)
  readonly tier: string;

  @TokenScopesField(
    'What the token may do: `admin` holds `read` and `write`, and not `exec`. By default `read`, `write` and `exec`.',
  )
  readonly scopes?: RouteScope[];

  @ApiPropertyOptional({ example: 'laptop', description: 'A name to recognise the token by; `first` by default.' })
  @ValidateIf((dto: CreateUserDto) => dto.token_name !== undefined)
  @IsString()
  @Matches(printableName(64), { message: 'must be 1 to 64 printable characters' })
  readonly token_name?: string;

  @TokenDaysField("The token's days. By default it does not expire, but for a guest, or with the scope `admin`.", {
    nullable: true,
  })
  readonly expires_in?: number | null;
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
