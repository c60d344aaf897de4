import { Controller, Get, Inject } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentPrincipal, ForContainerTokens, type Principal, Scopes } from '../auth';
import { type Config, CONFIG } from '../config';
import { TierListView, TiersService, TierUsage, viewLimits } from '../tiers';
import { MeView, profileUser, ProfileView, ValidatedTokenView } from './dto/responses';

const MIB = 1024 * 1024;

/** The caller, the tier's limits and their usage. */
@ApiTags('me')
@ForContainerTokens()
@Controller('me')
export class MeController {
  constructor(
    private readonly tiers: TiersService,
    private readonly usage: TierUsage,
    @Inject(CONFIG) private readonly config: Pick<Config, 'FILE_SIZE_LIMIT_MB' | 'ARCHIVE_SIZE_LIMIT_MB'>,
  ) {}

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: 'Get the current user with limits and usage' })
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
      transfer_limits: {
        file_bytes: this.config.FILE_SIZE_LIMIT_MB * MIB,
        archive_bytes: this.config.ARCHIVE_SIZE_LIMIT_MB * MIB,
      },
      scopes: caller.scopes,
      container: caller.boundTo && { id: caller.boundTo.id, forks: caller.boundTo.withForks },
      session: caller.sessionExpiresAt ? { expires_at: caller.sessionExpiresAt.toISOString() } : null,
    };
  }
}

/** The caller, in the routes that clients of Rexec use at login. {@link MeController} has more. */
@Controller()
@Scopes('read')
export class ProfileController {
  @Get('profile')
  @ApiTags('me')
  @ApiOperation({ summary: 'Get the current user, for Rexec clients' })
  @ApiOkResponse({ type: ProfileView })
  profile(@CurrentPrincipal() caller: Principal): ProfileView {
    return { user: profileUser(caller) };
  }

  @Get('tokens/validate')
  @ForContainerTokens()
  @ApiTags('tokens')
  @ApiOperation({ summary: 'Validate the token and get its user, for Rexec clients' })
  @ApiOkResponse({ type: ValidatedTokenView })
  validate(@CurrentPrincipal() caller: Principal): ValidatedTokenView {
    return Object.assign(profileUser(caller), { valid: true, user_id: caller.userId, scopes: caller.scopes } as const);
  }
}

/** The available tiers. Not part of the tiers module, which knows no callers. */
@ApiTags('tiers')
@Controller('tiers')
export class TiersController {
  constructor(private readonly tiers: TiersService) {}

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: 'List tiers and their limits' })
  @ApiOkResponse({ type: TierListView })
  list(): TierListView {
    return { tiers: this.tiers.all().map((tier) => Object.assign({ name: tier.name }, viewLimits(tier))) };
  }
}
