import { ApiProperty } from '@nestjs/swagger';
import { IsBoolean, IsIn, IsOptional, IsString, Length, Matches } from 'class-validator';
import { Choice, Count, Flag, Text, Timestamp, Uuid } from '../../api-fields';
import {
  type IssuedToken,
  RouteScope,
  SCOPES,
  TOKEN_FORMATS,
  TokenDaysField,
  TokenEntity,
  type TokenFormat,
  TokenScopesField,
} from '../../auth';
import { BodyExample, printableName } from '../../http';

/** Body of `POST /api/tokens`. */
@BodyExample({ name: 'laptop', scopes: ['read', 'write'], expires_in: 90 })
export class CreateTokenDto {
  @Text('Name to identify the token.', { example: 'laptop' })
  @IsString()
  @Matches(printableName(64), { message: 'must be 1 to 64 printable characters' })
  readonly name: string;

  @TokenScopesField(
    'Scopes of the token; the calling token must have them. `admin` includes `read` and `write`, but not `exec`. ' +
      'Default: those of `read`, `write` and `exec` that the calling token has.',
  )
  readonly scopes?: RouteScope[];

  @TokenDaysField(
    'Lifetime in days, limited by the calling token. Default: the token expires with the calling token, or never.',
  )
  readonly expires_in?: number | null;

  @Choice(TOKEN_FORMATS, 'Form of the token: `e2b` for clients of E2B, which accept no other.', {
    required: false,
    default: 'berth',
  })
  @IsOptional()
  @IsIn(TOKEN_FORMATS, { message: `must be one of ${TOKEN_FORMATS.join(', ')}` })
  @IsString()
  readonly format?: TokenFormat | null;

  @Text('Limits the token to one container: its name, or any form of its id. The token ends with the container.', {
    required: false,
    example: 'dev-environment',
  })
  @IsOptional()
  @Length(1, 255, { message: 'must be 1 to 255 characters' })
  @IsString()
  readonly container?: string | null;

  @Flag('With `container`: whether the token may also fork the container, and opens all forks of it.', {
    required: false,
    default: false,
  })
  @IsOptional()
  @IsBoolean()
  readonly forks?: boolean | null;
}

/** The only container that a token opens; `null` in its place: all of the user's. */
export class TokenContainerView {
  @Uuid('Database id of the container.') readonly id: string;
  @Flag('Whether the token also opens its forks, and may make them.') readonly forks: boolean;
}

/** A token as shown to its owner, without its text. */
class TokenView {
  @Uuid() readonly id: string;
  @Text({ example: 'laptop' }) readonly name: string;
  @Text('First 12 characters of the token.', { example: 'berth_1f2e3d' })
  readonly token_prefix: string;
  @ApiProperty({ enum: SCOPES, isArray: true, example: ['read', 'write', 'exec'] })
  readonly scopes: string[];
  @ApiProperty({ type: TokenContainerView, nullable: true })
  readonly container: TokenContainerView | null;
  @Timestamp() readonly created_at: string;
  @Timestamp({ nullable: true }) readonly expires_at: string | null;
}

/** A new token with its text, which no other answer shows. */
export class CreatedTokenView extends TokenView {
  @Text('Shown only once.', { example: `berth_${'1f2e3d4c'.repeat(8)}` })
  readonly token: string;
}

/** The answer of `GET /api/tokens`. */
export class TokenListView {
  @ApiProperty({ type: [TokenView] }) readonly tokens: TokenView[];
  @Count({ example: 1 }) readonly count: number;
}

/** The answer of `DELETE /api/tokens/:id`. */
export class TokenRevokedView {
  @Choice(['token revoked']) readonly message: string;
  @Uuid() readonly id: string;
}

export function viewToken(token: TokenEntity): TokenView {
  return {
    id: token.id,
    name: token.name,
    token_prefix: token.prefix,
    scopes: token.scopes,
    container: token.containerId === null ? null : { id: token.containerId, forks: token.withForks },
    created_at: token.createdAt.toISOString(),
    expires_at: token.expiresAt?.toISOString() ?? null,
  };
}

/** Includes the token's text. */
export function viewIssued({ token, text }: IssuedToken): CreatedTokenView {
  return Object.assign(viewToken(token), { token: text });
}
