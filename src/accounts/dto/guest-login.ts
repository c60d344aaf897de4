import { ApiProperty } from '@nestjs/swagger';
import { IsString, Matches } from 'class-validator';
import { Text, Timestamp } from '../../api-fields';
import type { GuestLogin } from '../guest.service';
import { MeUserView } from './responses';

/** The answer of `POST /api/auth/guest`. */
export class GuestLoginView {
  @Text('Shown only once. Allows reading and writing.', { example: `berth_${'1f2e3d4c'.repeat(8)}` })
  readonly token: string;
  @ApiProperty({ type: MeUserView }) readonly user: MeUserView;
  @Timestamp(
    'When the guest session ends. After that, the token can only read, stop and delete. Null if guest sessions ' +
      'do not expire.',
    { nullable: true },
  )
  readonly expires_at: string | null;
}

export function viewGuestLogin({ token, user }: GuestLogin): GuestLoginView {
  const { id, username, tier } = user;
  return { token, user: { id, username, tier }, expires_at: user.sessionExpiresAt?.toISOString() ?? null };
}

const USERNAME = /^[A-Za-z0-9_-]{2,30}$/;

/** Body of `POST /api/auth/guest`. */
export class GuestLoginDto {
  @Text('2 to 30 letters, digits, "_" and "-".', { example: 'ada' })
  @IsString()
  @Matches(USERNAME, { message: 'must be 2 to 30 letters, digits, "_" or "-"' })
  readonly username: string;
}
