import { ApiProperty } from '@nestjs/swagger';
import { holdsScope, type Principal } from '../../auth';

/** The caller as clients of Rexec know users. */
export class ProfileUserView {
  @ApiProperty({ example: 'ada' })
  readonly username: string;
  @ApiProperty({ type: String, nullable: true, example: null, description: 'Always null: Berth knows none.' })
  readonly email: string | null;
  @ApiProperty({ example: 'free' })
  readonly tier: string;
  @ApiProperty({ description: 'Whether the calling token has the scope admin.' })
  readonly is_admin: boolean;
}

/** What `GET /api/profile` answers. */
export class ProfileView {
  @ApiProperty({ type: ProfileUserView })
  readonly user: ProfileUserView;
}

/** What `GET /api/tokens/validate` answers. */
export class ValidatedTokenView extends ProfileUserView {
  @ApiProperty({ type: Boolean, enum: [true], description: 'One that is not valid is a 401.' })
  readonly valid: true;
  @ApiProperty({ format: 'uuid' })
  readonly user_id: string;
  @ApiProperty({ type: [String], description: 'What the calling token holds.' })
  readonly scopes: readonly string[];
}

export function profileUser(caller: Principal): ProfileUserView {
  return { username: caller.username, email: null, tier: caller.tier, is_admin: holdsScope(caller, 'admin') };
}
