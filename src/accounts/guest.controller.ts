import { Body, Controller, Post } from '@nestjs/common';
import { ApiCreatedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { Public } from '../auth';
import { ApiFaults } from '../errors';
import { Location } from '../http';
import { RefusesIdempotencyKey } from '../idempotency';
import { GuestLoginDto, GuestLoginView, viewGuestLogin } from './dto/guest-login';
import { GuestService } from './guest.service';

/** Login without an account. */
@ApiTags('auth')
@Controller('auth')
export class GuestController {
  constructor(private readonly guests: GuestService) {}

  @Post('guest')
  @Public()
  @RefusesIdempotencyKey()
  @Audited('guest.login')
  @Location(() => '/api/me')
  @ApiOperation({
    summary: 'Log in as a guest',
    description:
      'Requires no token. The name of an expired guest can be reused. The token is shown only in this response.',
  })
  @ApiCreatedResponse({ type: GuestLoginView })
  @ApiFaults('guest_login_disabled', 'guest_limit_reached', 'username_taken')
  async login(@Body() { username }: GuestLoginDto): Promise<GuestLoginView> {
    return viewGuestLogin(await this.guests.login(username));
  }
}
