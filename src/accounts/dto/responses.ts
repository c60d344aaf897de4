import { ApiProperty } from '@nestjs/swagger';
import { Count, Flag, Text, Timestamp, Uuid } from '../../api-fields';
import { holdsScope, type Principal, SCOPES } from '../../auth';
import { LimitsView } from '../../tiers';
import { TokenContainerView } from './tokens';

export class MeUserView {
  @Uuid() readonly id: string;
  @Text({ example: 'ada' }) readonly username: string;
  @Text({ example: 'free' }) readonly tier: string;
}

class MeUsageView {
  @Count({ example: 2 }) readonly containers: number;
  @Count({ example: 1 }) readonly agents: number;
}

class MeSessionView {
  @Timestamp() readonly expires_at: string;
}

class TransferLimitsView {
  @Count("Maximum size of one uploaded file. The container's disk size applies as well.", {
    minimum: 1,
    example: 10_737_418_240,
  })
  readonly file_bytes: number;
  @Count("Maximum size of one uploaded archive. The container's disk size applies as well.", {
    minimum: 1,
    example: 10_737_418_240,
  })
  readonly archive_bytes: number;
}

/** The answer of `GET /api/me`. */
export class MeView {
  @ApiProperty({ type: MeUserView }) readonly user: MeUserView;
  @Text({ example: 'free' }) readonly tier: string;
  @ApiProperty({ type: LimitsView })
  readonly limits: LimitsView;
  @ApiProperty({ type: MeUsageView }) readonly usage: MeUsageView;
  @ApiProperty({ type: TransferLimitsView })
  readonly transfer_limits: TransferLimitsView;
  @ApiProperty({
    enum: SCOPES,
    isArray: true,
    example: ['read', 'write', 'exec'],
    description: 'Scopes of the calling token.',
  })
  readonly scopes: readonly string[];
  @ApiProperty({ type: TokenContainerView, nullable: true, description: 'Null if the token is not for one container.' })
  readonly container: TokenContainerView | null;
  @ApiProperty({ type: MeSessionView, nullable: true, description: 'Null for users without a limited session.' })
  readonly session: MeSessionView | null;
}

/** The caller, in the shape that clients of Rexec expect. */
class ProfileUserView {
  @Text({ example: 'ada' }) readonly username: string;
  @Text('Always null: Berth stores no email addresses.', { nullable: true, example: null })
  readonly email: string | null;
  @Text({ example: 'free' }) readonly tier: string;
  @Flag('True if the calling token has the scope admin.')
  readonly is_admin: boolean;
}

/** The answer of `GET /api/profile`. */
export class ProfileView {
  @ApiProperty({ type: ProfileUserView }) readonly user: ProfileUserView;
}

/** The answer of `GET /api/tokens/validate`. */
export class ValidatedTokenView extends ProfileUserView {
  @ApiProperty({ type: Boolean, enum: [true], description: 'Always true: an invalid token is answered with 401.' })
  readonly valid: true;
  @Uuid() readonly user_id: string;
  @ApiProperty({
    enum: SCOPES,
    isArray: true,
    example: ['read', 'write', 'exec'],
    description: 'Scopes of the calling token.',
  })
  readonly scopes: readonly string[];
}

export function profileUser(caller: Principal): ProfileUserView {
  return { username: caller.username, email: null, tier: caller.tier, is_admin: holdsScope(caller, 'admin') };
}
