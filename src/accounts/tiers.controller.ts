import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Scopes } from '../auth';
import { TierListView, TiersService, viewLimits } from '../tiers';

/** The tiers that a user can have. Here and not with the tiers: they know nothing of who asks. */
@ApiTags('tiers')
@Controller('tiers')
export class TiersController {
  constructor(private readonly tiers: TiersService) {}

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: 'List the tiers and what each allows' })
  @ApiOkResponse({ type: TierListView })
  list(): TierListView {
    return { tiers: this.tiers.all().map((tier) => Object.assign({ name: tier.name }, viewLimits(tier))) };
  }
}
