import { ApiProperty } from '@nestjs/swagger';
import { SCOPES } from '../principal';
import { TokenEntity } from '../token.entity';

/** A token as its owner sees it; the token itself is not among it. */
export class TokenView {
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty({ example: 'laptop' })
  readonly name: string;
  @ApiProperty({ example: 'berth_1f2e3d', description: "The token's first 12 characters." })
  readonly token_prefix: string;
  @ApiProperty({ enum: SCOPES, isArray: true })
  readonly scopes: string[];
  @ApiProperty({ format: 'date-time' })
  readonly created_at: string;
  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  readonly expires_at: string | null;
}

/** A token in the one answer that shows it. */
export class CreatedTokenView extends TokenView {
  @ApiProperty({ example: `berth_${'1f2e3d4c'.repeat(8)}`, description: 'Shown this once.' })
  readonly token: string;
}

/** What `GET /api/tokens` answers. */
export class TokenListView {
  @ApiProperty({ type: [TokenView] })
  readonly tokens: TokenView[];
  @ApiProperty()
  readonly count: number;
}

/** What `DELETE /api/tokens/:id` answers. */
export class TokenRevokedView {
  @ApiProperty({ example: 'token revoked' })
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
