import { Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { type Config, CONFIG } from '../config';
import { TiersModule, TiersService } from '../tiers';
import { loadClaimRules } from './claims';
import { Identities } from './identities';
import { CLAIM_RULES, OidcController } from './oidc.controller';
import { OpenIdProvider } from './provider';

/** Sign-in through an OpenID provider. */
@Module({
  imports: [AuditModule, AuthModule, TiersModule],
  controllers: [OidcController],
  providers: [
    OpenIdProvider,
    Identities,
    {
      provide: CLAIM_RULES,
      inject: [CONFIG, TiersService],
      useFactory: ({ OIDC_ISSUER, OIDC_CLAIMS_FILE }: Config, tiers: TiersService) => {
        const names = tiers.all().map(({ name }) => name);
        return OIDC_ISSUER === undefined ? null : loadClaimRules(OIDC_CLAIMS_FILE, names);
      },
    },
  ],
})
export class OidcModule {}
