import { Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { ContainersModule } from '../containers';
import { IdempotencyModule } from '../idempotency';
import { TiersModule } from '../tiers';
import { GuestController } from './guest.controller';
import { GuestService } from './guest.service';
import { MeController, ProfileController, TiersController } from './me.controller';
import { SignInController } from './sign-in.controller';
import { TokensController } from './tokens.controller';

/** The users' own accounts: guest login, sign-in codes, profile, tokens, tiers. */
@Module({
  imports: [AuditModule, AuthModule, ContainersModule, IdempotencyModule, TiersModule],
  controllers: [TokensController, GuestController, SignInController, MeController, ProfileController, TiersController],
  providers: [GuestService],
})
export class AccountsModule {}
