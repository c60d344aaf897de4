import { ApiProperty } from '@nestjs/swagger';
import { IsString, Matches } from 'class-validator';
import { type IssuedToken, RouteScope, SCOPES, TokenDaysField, TokenEntity, TokenScopesField } from '../../auth';
import { BodyExample, printableName } from '../../http';

/** Body of `POST /api/tokens`. */
@BodyExample({ name: 'laptop', scopes: ['read', 'write'], expires_in: 90 })
export class CreateTokenDto {
  @ApiProperty({ example: 'laptop', description: 'A name to recognise the token by.' })
  @IsString()
  @Matches(printableName(64), { message: 'must be 1 to 64 printable characters' })
  readonly name: string;

  @TokenScopesField(
    'At most what the calling token holds; `admin` holds `read` and `write`, and not `exec`. By default `read`, `write` ' +
      'and `exec`, as far as it holds them.',
  )
  readonly scopes?: RouteScope[];

  @TokenDaysField('Days. By default it ends with the calling token, which it cannot outlast, or not at all.')
  readonly expires_in?: number | null;
}

/** A token as shown to its owner, without its text. */
class TokenView {
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty({ example: 'laptop' })
  readonly name: string;
  @ApiProperty({ example: 'berth_1f2e3d', description: "The token's first 12 characters." })
  readonly token_prefix: string;
  @ApiProperty({ enum: SCOPES, isArray: true, example: ['read', 'write', 'exec'] })
  readonly scopes: string[];
  @ApiProperty({ format: 'date-time' })
  readonly created_at: string;
  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  readonly expires_at: string | null;
}

/** A new token with its text, which no other answer shows. */
export class CreatedTokenView extends TokenView {
  @ApiProperty({ example: `berth_${'1f2e3d4c'.repeat(8)}`, description: 'Shown this once.' })
  readonly token: string;
}

/** The answer of `GET /api/tokens`. */
export class TokenListView {
  @ApiProperty({ type: [TokenView] })
  readonly tokens: TokenView[];
  @ApiProperty({ type: 'integer', minimum: 0, example: 1 })
  readonly count: number;
}

/** The answer of `DELETE /api/tokens/:id`. */
export class TokenRevokedView {
  @ApiProperty({ enum: ['token revoked'] })
  readonly message: string;
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
}

export function viewToken(token: TokenEntity): TokenView {
  return {
    id: token.id,
    name: token.name,
    token_prefix: token.prefix,
    scopes: token.scopes,
    created_at: token.createdAt.toISOString(),
    expires_at: token.expiresAt?.toISOString() ?? null,
  };
}

/** Includes the token's text. */
export function viewIssued({ token, text }: IssuedToken): CreatedTokenView {
  return Object.assign(viewToken(token), { token: text });
}
