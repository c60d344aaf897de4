import { Body, Controller, Get, Module, Post } from '@nestjs/common';
import { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { randomUUID } from 'node:crypto';
import { dataSourceOptions } from '../../../ormconfig';
import { AccountsModule } from '../../../src/accounts';
import {
  AuthModule,
  CurrentPrincipal,
  type Principal,
  Public,
  type Scope,
  Scopes,
  TokenService,
  USUAL_SCOPES,
  UserService,
} from '../../../src/auth';
import { Config, ConfigModule, parseConfig } from '../../../src/config';
import { DatabaseModule } from '../../../src/database';
import { createHttpAdapter, HttpModule, setUpHttp } from '../../../src/http';
import { LoggingModule } from '../../../src/logging';
import { SignalsModule } from '../../../src/signals';
import { TiersModule } from '../../../src/tiers';
import { openTestDatabase, TestDatabase } from '../databases/test-database';

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

  @Get('admin')
  @Scopes('admin')
  admin(): object {
    return {};
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

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Record<string, unknown>;
}

/** A server with only users, tokens and a route of each kind. */
export class AuthServer {
  readonly tokens: TokenService;
  readonly users: UserService;

  private constructor(
    readonly app: NestFastifyApplication,
    readonly config: Config,
    private readonly database: TestDatabase,
  ) {
    this.tokens = app.get(TokenService);
    this.users = app.get(UserService);
  }

  static async start(): Promise<AuthServer> {
    const database = await openTestDatabase();
    const config = parseConfig({ NODE_ENV: 'test', DATABASE_URL: database.url, LOG_LEVEL: 'silent' });
    const module = await Test.createTestingModule({
      imports: [
        ConfigModule.forRoot(config),
        LoggingModule,
        HttpModule,
        SignalsModule,
        DatabaseModule.forRoot(dataSourceOptions(database.url)),
        TiersModule,
        AuthModule,
        AccountsModule,
        StubModule,
      ],
    }).compile();
    const app = module.createNestApplication<NestFastifyApplication>(createHttpAdapter(), { logger: false });
    setUpHttp(app);
    await app.init();
    return new AuthServer(app, config, database);
  }

  async stop(): Promise<void> {
    await this.app.close();
    await this.database.drop();
  }

  /** A new user with a token. */
  async holder(options: { scopes?: Scope[]; expiresAt?: Date; tier?: string } = {}): Promise<Holder> {
    const username = `user-${randomUUID()}`;
    const { user } = await this.users.ensure({ username, tier: options.tier ?? 'free' });
    return { username, ...(await this.another(user.id, options)) };
  }

  /** Another token of the same user. */
  async another(
    userId: string,
    { scopes = USUAL_SCOPES, expiresAt }: { scopes?: readonly Scope[]; expiresAt?: Date } = {},
  ): Promise<Omit<Holder, 'username'>> {
    const issued = await this.tokens.issue({ userId, name: 'test', scopes, expiresAt: expiresAt ?? null });
    return { userId, text: issued.text, id: issued.token.id };
  }

  async revokedToken(): Promise<string> {
    const { userId, text, id } = await this.holder();
    await this.tokens.revoke({ userId, tokenId: id });
    return text;
  }

  async call(
    method: 'GET' | 'POST' | 'DELETE',
    url: string,
    options: { token?: string; body?: object; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const response = await this.app.inject({
      method,
      url,
      headers: { ...(options.token !== undefined && { authorization: `Bearer ${options.token}` }), ...options.headers },
      ...(options.body && { payload: options.body }),
    });
    return { status: response.statusCode, headers: response.headers, body: response.json<Record<string, unknown>>() };
  }
}

export function expectUnauthorized({ status, headers, body }: Answer): void {
  expect([status, body['error'], body['code']]).toEqual([401, 'unauthorized', 'unauthorized']);
  expect(headers['www-authenticate']).toMatch(/^Bearer realm="berth"(, error="invalid_token")?$/);
}

export function expectForbidden({ status, body }: Answer): void {
  expect([status, body['error'], body['code']]).toEqual([403, 'insufficient permissions', 'insufficient_permissions']);
}
