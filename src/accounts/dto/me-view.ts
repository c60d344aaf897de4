import { ApiProperty } from '@nestjs/swagger';
import { LimitsView } from '../../tiers';

export class MeUserView {
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty({ example: 'ada' })
  readonly username: string;
  @ApiProperty({ example: 'free' })
  readonly tier: string;
}

export class MeUsageView {
  @ApiProperty({ example: 2 })
  readonly containers: number;
  @ApiProperty({ example: 1 })
  readonly agents: number;
}

export class MeSessionView {
  @ApiProperty({ format: 'date-time' })
  readonly expires_at: string;
}

/** What `GET /api/me` answers. */
export class MeView {
  @ApiProperty({ type: MeUserView })
  readonly user: MeUserView;
  @ApiProperty({ example: 'free' })
  readonly tier: string;
  @ApiProperty({ type: LimitsView })
  readonly limits: LimitsView;
  @ApiProperty({ type: MeUsageView })
  readonly usage: MeUsageView;
  @ApiProperty({ type: [String], description: 'What the calling token holds.' })
  readonly scopes: readonly string[];
  @ApiProperty({ type: MeSessionView, nullable: true, description: 'null for users without a session that ends.' })
  readonly session: MeSessionView | null;
}
