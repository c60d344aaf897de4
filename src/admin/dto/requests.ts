import { applyDecorators } from '@nestjs/common';
import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsIn, IsOptional, IsString, Matches, MaxLength, ValidateIf } from 'class-validator';
import { Choice, Flag, Text, Uuid } from '../../api-fields';
import { type RouteScope, TokenDaysField, TokenScopesField } from '../../auth';
import { Given, LISTED_STATUSES, type ListedStatus } from '../../containers';
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
  @Uuid('Filter by user.')
  @IsOptional()
  @IsUuidText()
  user_id?: string;

  @Choice(
    LISTED_STATUSES,
    '`deleted` lists the containers that can still be restored. Default: all existing containers.',
    { enumName: 'ListedStatus' },
  )
  @IsOptional()
  @IsIn(LISTED_STATUSES)
  status?: ListedStatus;

  @Search('worker', 'Part of the container, image, user or node name, or the start of the database id.')
  search?: string;

  @Text('Filter by node name or id, in a cluster.', { example: 'node-2' })
  @IsOptional()
  @IsString()
  @Matches(printable(255), { message: 'node must be the name or id of a node' })
  node?: string;
}

/** Query of `GET /api/admin/snapshots`. */
export class ListAnySnapshotsDto extends PagedQuery {
  @Uuid('Filter by user.')
  @IsOptional()
  @IsUuidText()
  user_id?: string;
}

/** Body of `POST /api/admin/containers/:id/move`. */
export class MoveContainerDto {
  @Text('Name or id of the target node. Default: the node with the most free capacity.', { example: 'node-2' })
  @Given()
  @IsString()
  @MaxLength(255)
  node?: string;
}

/** Body of `POST /api/admin/nodes/:name/drain`. */
export class DrainNodeDto {
  @Flag('Move its containers to other nodes in the background.', { example: true })
  @Given()
  @IsBoolean()
  move?: boolean;
}

/** Query of `GET /api/admin/users`. */
export class ListUsersDto extends PagedQuery {
  @Text('Filter by exact name.', { example: 'ada' })
  @IsOptional()
  @IsString()
  @Matches(/^[A-Za-z0-9._@~-]{1,64}$/, { message: 'username must be a user name' })
  username?: string;

  @Search('ada', 'Part of the name.')
  search?: string;

  @Text({ example: 'free' })
  @IsOptional()
  @IsString()
  @Matches(/^[A-Za-z0-9_-]{1,32}$/, { message: 'tier must be a tier name' })
  tier?: string;
}

/** Body of `POST /api/admin/users`. */
@BodyExample({ username: 'grace', tier: 'pro', scopes: ['read', 'write', 'exec'], expires_in: 90 })
export class CreateUserDto {
  @Text('1 to 64 letters, digits, ".", "_", "@" and "-", starting with a letter or digit.', { example: 'ada' })
  @IsString()
  @MaxLength(64)
  readonly username: string;

  @Text('A tier name of GET /api/tiers.', { example: 'pro' })
  @IsString()
  @MaxLength(32)
  readonly tier: string;

  @TokenScopesField(
    'Scopes of the token. `admin` includes `read` and `write`, but not `exec`. Default: `read`, `write` and `exec`.',
  )
  readonly scopes?: RouteScope[];

  @Text('Name to identify the token. Default: `first`.', { example: 'laptop' })
  @ValidateIf((dto: CreateUserDto) => dto.token_name !== undefined)
  @IsString()
  @Matches(printableName(64), { message: 'must be 1 to 64 printable characters' })
  readonly token_name?: string;

  @TokenDaysField(
    'Lifetime of the token in days. By default, tokens do not expire, except for guests and with the scope `admin`.',
    {
      nullable: true,
    },
  )
  readonly expires_in?: number | null;
}

/** Body of `PATCH /api/admin/users/:id`. */
@BodyExample({ tier: 'pro' })
export class UpdateUserDto {
  @Text('A tier name of GET /api/tiers.', { example: 'pro' })
  @Given()
  @IsString()
  @MaxLength(32)
  tier?: string;

  @Flag("Refuse the user's tokens and stop the user's containers.", { example: true })
  @Given()
  @IsBoolean()
  suspended?: boolean;
}
