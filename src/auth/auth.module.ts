import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { TiersModule } from '../tiers';
import { AuditedCalls } from './audited-calls';
import { AuthGuard } from './auth.guard';
import { BearerStrategy } from './bearer.strategy';
import { GuestController } from './guest.controller';
import { GuestService } from './guest.service';
import { ScopeRefusals } from './scope-refusals';
import { MeController } from './me.controller';
import { ProfileController } from './profile.controller';
import { TiersController } from './tiers.controller';
import { TokenService } from './token.service';
import { TokensController } from './tokens.controller';
import { UserService } from './user.service';

/** Who is calling, and what they may; importing it closes every route of the application that does not open itself. */
@Module({
  imports: [TiersModule],
  controllers: [TokensController, GuestController, MeController, ProfileController, TiersController],
  providers: [
    TokenService,
    UserService,
    ScopeRefusals,
    AuditedCalls,
    GuestService,
    BearerStrategy,
    { provide: APP_GUARD, useClass: AuthGuard },
  ],
  exports: [TokenService, UserService, ScopeRefusals, AuditedCalls],
})
export class AuthModule {}
