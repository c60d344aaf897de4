import { Inject, Injectable } from '@nestjs/common';
import type { Configuration } from 'openid-client' with { 'resolution-mode': 'import' };
import { type Config, CONFIG } from '../config';
import { DomainError } from '../errors';
import { LOGGER, type Logger } from '../logging';
import type { Claims } from './claims';
import type { Identity } from './identities';

/** A sign-in that a browser has begun: what the provider's answer must fit. The browser keeps it in a cookie. */
export interface BegunSignIn {
  /** Ties the answer to this browser (RFC 6749, 10.12). */
  readonly state: string;
  /** Ties the ID token to this sign-in (OpenID Connect Core, 3.1.2.1). */
  readonly nonce: string;
  /** Proves to the provider that the code was asked for here (PKCE, RFC 7636). */
  readonly verifier: string;
}

/** An account that the provider has signed in. */
export interface SignedIn {
  readonly identity: Identity;
  readonly claims: Claims;
}

/** How long the provider's addresses are used before they are read again, and the bound on each of its answers. */
const METADATA_MS = 3_600_000;
const TIMEOUT_S = 10;
/** By how much the provider's clock may differ. */
const CLOCK_TOLERANCE_S = 60;

type Settings = Pick<Config, 'OIDC_ISSUER' | 'OIDC_CLIENT_ID' | 'OIDC_CLIENT_SECRET' | 'OIDC_SCOPES'>;

/**
 * The OpenID provider of the settings: the authorization code flow with PKCE (OpenID Connect Core, 3.1). Its metadata
 * is read when it is first needed, so Berth starts without it.
 */
@Injectable()
export class OpenIdProvider {
  private found: { readonly configuration: Promise<Configuration>; readonly at: number } | null = null;

  constructor(
    @Inject(CONFIG) private readonly config: Settings,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Begins a sign-in.
   *
   * @param redirectUri where the provider sends the browser back to
   * @returns the address that the browser is sent to
   * @throws DomainError `openid_disabled`, `openid_unavailable`
   */
  async begin(redirectUri: string): Promise<BegunSignIn & { readonly url: URL }> {
    const client = await import('openid-client');
    const configuration = await this.asked(() => this.configuration());
    const begun = {
      state: client.randomState(),
      nonce: client.randomNonce(),
      verifier: client.randomPKCECodeVerifier(),
    };
    const url = client.buildAuthorizationUrl(configuration, {
      redirect_uri: redirectUri,
      scope: this.config.OIDC_SCOPES,
      state: begun.state,
      nonce: begun.nonce,
      code_challenge: await client.calculatePKCECodeChallenge(begun.verifier),
      code_challenge_method: 'S256',
    });
    return { ...begun, url };
  }

  /**
   * Takes the provider's answer for an account.
   *
   * @param answer the address that the provider sent the browser to
   * @throws DomainError `openid_disabled`; `sign_in_expired` for an answer that does not fit or was used already;
   *   `sign_in_refused`, `openid_unavailable`
   */
  async finish(answer: URL, { state, nonce, verifier }: BegunSignIn): Promise<SignedIn> {
    if (answer.searchParams.get('state') !== state) throw new DomainError('sign_in_expired');
    const client = await import('openid-client');
    return this.asked(async () => {
      const configuration = await this.configuration();
      const tokens = await client.authorizationCodeGrant(configuration, answer, {
        pkceCodeVerifier: verifier,
        expectedState: state,
        expectedNonce: nonce,
        idTokenExpected: true,
      });
      const claims = tokens.claims();
      if (!claims) throw new Error('the answer has no ID token');
      const hasMore = configuration.serverMetadata().userinfo_endpoint !== undefined;
      const more = hasMore ? await client.fetchUserInfo(configuration, tokens.access_token, claims.sub) : {};
      return { identity: { issuer: claims.iss, subject: claims.sub }, claims: { ...more, ...claims } };
    });
  }

  /** What the provider says of itself (OpenID Connect Discovery); one request for all who need it at once. */
  private async configuration(): Promise<Configuration> {
    const now = performance.now();
    if (!this.found || now - this.found.at > METADATA_MS) {
      const former = this.found;
      this.found = { configuration: this.discover(), at: now };
      // The addresses of before are as good while the provider is away.
      this.found.configuration.catch(() => (this.found = former));
    }
    return this.found.configuration;
  }

  private async discover(): Promise<Configuration> {
    const { OIDC_ISSUER: issuer, OIDC_CLIENT_ID: id, OIDC_CLIENT_SECRET: secret } = this.config;
    if (issuer === undefined || id === undefined) throw new DomainError('openid_disabled');
    const client = await import('openid-client');
    const authentication = secret === undefined ? client.None() : client.ClientSecretBasic(secret);
    return client.discovery(new URL(issuer), id, { [client.clockTolerance]: CLOCK_TOLERANCE_S }, authentication, {
      timeout: TIMEOUT_S,
      // The settings allow it only for a provider on this machine.
      // oxlint-disable-next-line typescript/no-deprecated -- marked so that it stands out
      execute: issuer.startsWith('http:') ? [client.allowInsecureRequests] : [],
    });
  }

  /** @throws DomainError for every fault of the provider and its answers; the log has the reason */
  private async asked<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof DomainError) throw error;
      const code = faultOf(error);
      this.logger.warn({ err: error, code }, 'sign-in through the OpenID provider failed');
      throw new DomainError(code, { cause: error });
    }
  }
}

/** OAuth's own codes (RFC 6749, 4.1.2.1 and 5.2; OpenID Connect Core, 3.1.2.6) for a refusal, and for a used code. */
const REFUSALS = new Set(['access_denied', 'login_required', 'consent_required', 'interaction_required']);

function faultOf(error: unknown): 'sign_in_refused' | 'sign_in_expired' | 'openid_unavailable' {
  const { error: code } = (error ?? {}) as { readonly error?: unknown };
  if (typeof code === 'string' && REFUSALS.has(code)) return 'sign_in_refused';
  return code === 'invalid_grant' ? 'sign_in_expired' : 'openid_unavailable';
}
