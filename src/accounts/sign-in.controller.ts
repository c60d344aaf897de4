import { Body, Controller, Inject, Post } from '@nestjs/common';
import { ApiCreatedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { CurrentPrincipal, type Principal, Public, Scopes, SignInCodes } from '../auth';
import { type Config, CONFIG } from '../config';
import { ApiFaults } from '../errors';
import { Location } from '../http';
import {
  ApiIdempotencyKey,
  Keyed,
  type KeyedRequest,
  KeyedSecrets,
  RefusesIdempotencyKey,
  REPLAYED_HEADER,
} from '../idempotency';
import { CODE_SECONDS, CreateSignInCodeDto, SignInCodeView, SignInDto, SignInView, viewSignIn } from './dto/sign-in';

/** Sign-in links, such as the one that `npm start` prints. */
@ApiTags('auth')
@Controller('auth')
export class SignInController {
  constructor(
    private readonly codes: SignInCodes,
    private readonly once: KeyedSecrets,
    @Inject(CONFIG) private readonly config: Pick<Config, 'TOKEN_LIMIT'>,
  ) {}

  @Post('codes')
  @Scopes('write')
  @Audited('session.invite')
  @Location(() => '/api/auth/sign-in')
  @ApiOperation({
    summary: 'Create a sign-in code',
    description:
      'For a link or another device. The code can be used once, and expires with the calling token. In a link, ' +
      'pass it in the URL fragment.',
  })
  @ApiIdempotencyKey()
  @ApiCreatedResponse({ type: SignInCodeView, headers: REPLAYED_HEADER })
  @ApiFaults('idempotency_key_reused', 'guest_session_expired')
  make(
    @CurrentPrincipal() caller: Principal,
    @Body() body: CreateSignInCodeDto,
    @Keyed() request: KeyedRequest,
  ): Promise<SignInCodeView> {
    return this.once.once(caller, request, async () => {
      const { code, expiresAt } = await this.codes.make(caller, body.expires_in ?? CODE_SECONDS);
      return { code, expires_at: expiresAt.toISOString() };
    });
  }

  @Post('sign-in')
  @Public()
  @RefusesIdempotencyKey()
  @Audited('session.begin')
  @Location<SignInView>(({ id }) => `/api/tokens/${id}`)
  @ApiOperation({
    summary: 'Sign in with a code',
    description:
      'Requires no token. Returns a token that is valid for a week and has the scopes of the token that created ' +
      'the code. It is shown only in this response.',
  })
  @ApiCreatedResponse({ type: SignInView })
  @ApiFaults('sign_in_code_refused', 'user_suspended', 'guest_session_expired', 'token_limit_reached')
  async signIn(@Body() { code }: SignInDto): Promise<SignInView> {
    return viewSignIn(await this.codes.redeem(code, this.config.TOKEN_LIMIT));
  }
}
