import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { TiersModule } from '../tiers';
import { AuthGuard, ScopeRefusals } from './auth.guard';
import { BearerStrategy } from './bearer.strategy';
import { OpenConnections } from './open-connections';
import { SignInCodeRetention, SignInCodes } from './sign-in-codes';
import { TokenReach } from './token-reach';
import { TokenRequests } from './token-requests';
import { TokenRetention, TokenService } from './token.service';
import { UserService } from './user.service';

/** Authentication and scopes. Importing it closes every route of the application that has no access decorator. */
@Module({
  imports: [TiersModule],
  providers: [
    TokenService,
    TokenReach,
    TokenRequests,
    TokenRetention,
    OpenConnections,
    SignInCodes,
    SignInCodeRetention,
    UserService,
    ScopeRefusals,
    BearerStrategy,
    AuthGuard,
    { provide: APP_GUARD, useExisting: AuthGuard },
  ],
  exports: [TokenService, TokenReach, TokenRequests, OpenConnections, SignInCodes, UserService, ScopeRefusals],
})
export class AuthModule {}
