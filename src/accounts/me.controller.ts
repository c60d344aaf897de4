import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { TiersService, TierUsage, viewLimits } from '../tiers';
import { MeView } from './dto/me-view';

/** The caller, and what is left of their tier. */
@ApiTags('me')
@Controller('me')
export class MeController {
  constructor(
    private readonly tiers: TiersService,
    private readonly usage: TierUsage,
  ) {}

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: 'Who you are, what you may use and what you use' })
  @ApiOkResponse({ type: MeView })
  async me(@CurrentPrincipal() caller: Principal): Promise<MeView> {
    const [containers, agents] = await Promise.all([
      this.usage.containersOf(caller.userId),
      this.usage.agentsOf(caller.userId),
    ]);
    return {
      user: { id: caller.userId, username: caller.username, tier: caller.tier },
      tier: caller.tier,
      limits: viewLimits(this.tiers.limitsOf(caller.tier)),
      usage: { containers, agents },
      scopes: caller.scopes,
      session: caller.sessionExpiresAt ? { expires_at: caller.sessionExpiresAt.toISOString() } : null,
    };
  }
}
