import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Scopes } from '../auth';
import { TierListView, viewLimits } from './tier-view';
import { TiersService } from './tiers.service';

@ApiTags('tiers')
@Controller('tiers')
export class TiersController {
  constructor(private readonly tiers: TiersService) {}

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: 'List the tiers and what each allows' })
  @ApiOkResponse({ type: TierListView })
  list(): TierListView {
    return { tiers: this.tiers.all().map((tier) => ({ name: tier.name, ...viewLimits(tier) })) };
  }
}
