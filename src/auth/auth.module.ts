import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { TiersModule } from '../tiers';
import { AuditedCalls } from './audited-calls';
import { AuthGuard, ScopeRefusals } from './auth.guard';
import { BearerStrategy } from './bearer.strategy';
import { TokenRetention, TokenService } from './token.service';
import { UserService } from './user.service';

/** Who is calling, and what they may; importing it closes every route of the application that does not open itself. */
@Module({
  imports: [TiersModule],
  providers: [
    TokenService,
    TokenRetention,
    UserService,
    ScopeRefusals,
    AuditedCalls,
    BearerStrategy,
    { provide: APP_GUARD, useClass: AuthGuard },
  ],
  exports: [TokenService, UserService, ScopeRefusals, AuditedCalls],
})
export class AuthModule {}
