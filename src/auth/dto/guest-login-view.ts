import { ApiProperty } from '@nestjs/swagger';
import type { GuestLogin } from '../guest.service';
import { MeUserView } from './me-view';

/** What `POST /api/auth/guest` answers. */
export class GuestLoginView {
  @ApiProperty({ example: `berth_${'1f2e3d4c'.repeat(8)}`, description: 'Shown this once. It may read and write.' })
  readonly token: string;
  @ApiProperty({ type: MeUserView })
  readonly user: MeUserView;
  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description:
      'When the session ends: from then on the token reads, stops and deletes only. null where guests have no end.',
  })
  readonly expires_at: string | null;
}

export function viewGuestLogin({ token, user }: GuestLogin): GuestLoginView {
  const { id, username, tier } = user;
  return { token, user: { id, username, tier }, expires_at: user.sessionExpiresAt?.toISOString() ?? null };
}
