import { Controller, Get, Inject, Query, Req, Res } from '@nestjs/common';
import { ApiExcludeEndpoint, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { IsOptional, Matches } from 'class-validator';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { Flag, Text } from '../api-fields';
import { Public, SignInCodes, USUAL_SCOPES } from '../auth';
import { type Config, CONFIG } from '../config';
import { DomainError, errorAnswer } from '../errors';
import { cookieOf, originOf } from '../http';
import { LOGGER, type Logger } from '../logging';
import { Clock } from '../scheduling';
import { admissionOf, type ClaimRules } from './claims';
import { Identities } from './identities';
import { type BegunSignIn, OpenIdProvider } from './provider';

/** Injection token of the {@link ClaimRules}; null without a provider. */
export const CLAIM_RULES = Symbol('CLAIM_RULES');

const CALLBACK = '/api/auth/oidc/callback';
/** How long the user may take at the provider, in seconds. */
const BEGUN_S = 600;
/** The prefix makes browsers refuse the cookie from another host, and with a `Domain`. It requires HTTPS. */
const COOKIE = 'berth-sign-in';
const HOST_COOKIE = `__Host-${COOKIE}`;

/** The path of a page of the console, and of no other host. */
const PAGE = /^\/(?:[A-Za-z0-9][A-Za-z0-9/_-]{0,200})?$/;

/** Query of `GET /api/auth/oidc`. */
class BeginQuery {
  /** The page of the console to return to; `/` if absent. */
  @IsOptional()
  @Matches(PAGE, { message: 'must be the path of a page of the console' })
  readonly return?: string;
}

/** The answer of `GET /api/auth/methods`. */
class SignInMethodsView {
  @Text('Name of the OpenID provider; null if there is none.', { nullable: true, example: 'Example Login' })
  readonly openid: string | null;
  @Flag('Whether guests may log in.') readonly guest: boolean;
}

/** What the cookie of a sign-in holds. The user could change it, but not for anyone else. */
const KEPT = z.strictObject({
  state: z.string().min(1),
  nonce: z.string().min(1),
  verifier: z.string().min(1),
  returnTo: z.string().regex(PAGE),
});
type Kept = z.output<typeof KEPT>;

/**
 * Sign-in through an OpenID provider. The browser comes back with a one-time sign-in code in the fragment of the
 * console's address, as a sign-in link has it, so no token is ever in an address.
 */
@ApiTags('auth')
@Controller('auth')
export class OidcController {
  constructor(
    private readonly provider: OpenIdProvider,
    private readonly identities: Identities,
    private readonly codes: SignInCodes,
    private readonly clock: Clock,
    @Inject(CLAIM_RULES) private readonly rules: ClaimRules | null,
    @Inject(LOGGER) private readonly logger: Logger,
    @Inject(CONFIG)
    private readonly config: Pick<Config, 'OIDC_ISSUER' | 'OIDC_NAME' | 'OIDC_SESSION' | 'GUEST_LOGIN'>,
  ) {}

  @Get('methods')
  @Public()
  @ApiOperation({ summary: 'List the ways to sign in', description: 'Requires no token.' })
  @ApiOkResponse({ type: SignInMethodsView })
  methods(): SignInMethodsView {
    const { OIDC_ISSUER, OIDC_NAME, GUEST_LOGIN } = this.config;
    return { openid: OIDC_ISSUER === undefined ? null : OIDC_NAME, guest: GUEST_LOGIN === 'allow' };
  }

  @Get('oidc')
  @Public()
  @ApiExcludeEndpoint()
  async begin(@Query() query: BeginQuery, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const returnTo = query.return ?? '/';
    const callback = this.callbackOf(request);
    await this.redirect(request, reply, returnTo, async () => {
      const { url, ...begun } = await this.provider.begin(callback);
      const kept: Kept = { ...begun, returnTo };
      reply.header('set-cookie', cookie(request, Buffer.from(JSON.stringify(kept)).toString('base64url'), BEGUN_S));
      return url.href;
    });
  }

  @Get('oidc/callback')
  @Public()
  @ApiExcludeEndpoint()
  async callback(
    // Any: the provider may add parameters of its own.
    @Query() _query: Record<string, unknown>,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const answer = new URL(request.url, this.callbackOf(request));
    const kept = keptIn(request);
    const returnTo = kept?.returnTo ?? '/';
    reply.header('set-cookie', cookie(request, '', 0));
    await this.redirect(request, reply, returnTo, async () => {
      if (!kept) throw new DomainError('sign_in_expired');
      return `${returnTo}#code=${await this.codeFor(answer, kept)}`;
    });
  }

  private async codeFor(answer: URL, begun: BegunSignIn): Promise<string> {
    const { identity, claims } = await this.provider.finish(answer, begun);
    const admission = this.rules && admissionOf(claims, this.rules);
    const user = await this.identities.signIn(identity, admission);
    return this.codes.makeFor(user.id, {
      scopes: admission?.isAdmin === true ? [...USUAL_SCOPES, 'admin'] : [...USUAL_SCOPES],
      endsAt: new Date(this.clock.now().getTime() + this.config.OIDC_SESSION),
    });
  }

  /** The address that the provider sends browsers back to. @throws DomainError `openid_disabled` */
  private callbackOf(request: FastifyRequest): string {
    if (this.config.OIDC_ISSUER === undefined) throw new DomainError('openid_disabled');
    const origin = originOf(request);
    if (origin === null) throw new DomainError('misdirected_request');
    return `${origin}${CALLBACK}`;
  }

  /** Sends the browser to the address that `work` returns, or with its error to the console: nobody reads JSON here. */
  private async redirect(
    request: FastifyRequest,
    reply: FastifyReply,
    returnTo: string,
    work: () => Promise<string>,
  ): Promise<void> {
    let location: string;
    try {
      location = await work();
    } catch (error) {
      const { status, body } = errorAnswer(error, request.id);
      const isExpected = error instanceof DomainError;
      this.logger[isExpected ? 'info' : 'error']({ err: error, code: body.code, status }, 'a sign-in failed');
      location = `${returnTo}#fault=${body.code}`;
    }
    await reply.code(302).header('location', location).header('cache-control', 'no-store').send();
  }
}

/** `Lax`: the cookie must come with the navigation from the provider. */
function cookie(request: FastifyRequest, value: string, seconds: number): string {
  const isSecure = request.protocol === 'https';
  const attributes = `Path=/; Max-Age=${String(seconds)}; HttpOnly; SameSite=Lax${isSecure ? '; Secure' : ''}`;
  return `${isSecure ? HOST_COOKIE : COOKIE}=${value}; ${attributes}`;
}

/** The sign-in that this browser has begun; null if it has begun none, or too long ago. */
function keptIn({ headers, protocol }: FastifyRequest): Kept | null {
  const value = cookieOf(headers.cookie, protocol === 'https' ? HOST_COOKIE : COOKIE);
  try {
    const kept = KEPT.safeParse(JSON.parse(Buffer.from(value ?? '', 'base64url').toString()));
    return kept.data ?? null;
  } catch {
    return null;
  }
}
