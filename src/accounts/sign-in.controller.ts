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
    summary: 'Make a code that signs you in elsewhere',
    description:
      'For a link or another device: good once, and only as long as the calling token. A page takes it from the fragment of its address.',
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
      'Needs no token. The answer has the token of a session of a week, with the scopes of the token that made the code, and is the only one that shows it.',
  })
  @ApiCreatedResponse({ type: SignInView })
  @ApiFaults('sign_in_code_refused', 'user_suspended', 'guest_session_expired', 'token_limit_reached')
  async signIn(@Body() { code }: SignInDto): Promise<SignInView> {
    return viewSignIn(await this.codes.redeem(code, this.config.TOKEN_LIMIT));
  }
}
