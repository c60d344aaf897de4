import { Body, Controller, Get, Module, Post } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import {
  CurrentPrincipal,
  type Principal,
  Public,
  type Scope,
  Scopes,
  TokenService,
  USUAL_SCOPES,
  UserService,
} from '../../../src/auth';
import { type Config, CONFIG } from '../../../src/config';
import { httpCall, type HttpAnswer, type HttpCall } from '../clients/http-call';
import { FakeEngine } from '../fakes/fake-engine';
import { Berth } from './berth';

/** A token in the right format that does not exist. */
export const UNKNOWN_TOKEN = `berth_${'ab'.repeat(32)}`;

@Controller('stub')
class StubController {
  @Get('public')
  @Public()
  open(): object {
    return { open: true };
  }

  @Get('read')
  @Scopes('read')
  read(@CurrentPrincipal() caller: Principal): object {
    return { username: caller.username };
  }

  @Post('write')
  @Scopes('write')
  write(@Body() body: unknown): object {
    return { body };
  }

  @Get('forgotten')
  forgotten(): object {
    return {};
  }
}

@Module({ controllers: [StubController] })
class StubModule {}

export interface Holder {
  readonly userId: string;
  readonly username: string;
  readonly text: string;
  readonly id: string;
}

/** A server with an additional route of each kind, and direct access to users and tokens. */
export class AuthServer {
  readonly app: NestFastifyApplication;
  readonly config: Config;
  readonly tokens: TokenService;
  readonly users: UserService;

  private constructor(private readonly berth: Berth) {
    this.app = berth.app;
    this.config = berth.app.get<Config>(CONFIG);
    this.tokens = berth.app.get(TokenService);
    this.users = berth.app.get(UserService);
  }

  static async start(): Promise<AuthServer> {
    return new AuthServer(await Berth.start({ engine: new FakeEngine(), modules: [StubModule] }));
  }

  stop(): Promise<void> {
    return this.berth.stop();
  }

  /** A new user with a token. */
  async holder(options: { scopes?: Scope[]; expiresAt?: Date; tier?: string } = {}): Promise<Holder> {
    const { id, username, token, tokenId } = await this.berth.user(options.tier ?? 'free', options.scopes, options);
    return { userId: id, username, text: token, id: tokenId };
  }

  /** Another token of the same user. */
  async another(userId: string, options: { expiresAt?: Date } = {}): Promise<Omit<Holder, 'username'>> {
    const wanted = { userId, name: 'test', scopes: USUAL_SCOPES, expiresAt: options.expiresAt ?? null };
    const { text, token } = await this.tokens.issue(wanted);
    return { userId, text, id: token.id };
  }

  async revokedToken(): Promise<string> {
    const { userId, text, id } = await this.holder();
    await this.tokens.revoke({ userId, tokenId: id });
    return text;
  }

  call(method: 'GET' | 'POST' | 'DELETE', path: string, options: HttpCall = {}): Promise<HttpAnswer> {
    return httpCall(this.berth.url, path, { method, ...options });
  }
}

export function expectUnauthorized({ status, headers, body }: HttpAnswer): void {
  expect([status, body['error'], body['code']]).toEqual([401, 'unauthorized', 'unauthorized']);
  expect(headers['www-authenticate']).toMatch(/^Bearer realm="berth"(, error="invalid_token")?$/);
}

export function expectForbidden({ status, body }: HttpAnswer): void {
  expect([status, body['error'], body['code']]).toEqual([403, 'insufficient permissions', 'insufficient_permissions']);
}
