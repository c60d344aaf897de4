import { randomUUID } from 'node:crypto';
import { Injectable, OnModuleDestroy } from '@nestjs/common';
import { PassportStrategy } from '@nestjs/passport';
import passport from 'passport';
import { Strategy } from 'passport-http-bearer';
import { Principal } from './principal';
import { TokenService } from './token.service';

/** Verifies the token of `Authorization: Bearer`. */
@Injectable()
export class BearerStrategy extends PassportStrategy(Strategy) implements OnModuleDestroy {
  /**
   * Passport keeps its strategies in a registry of the whole process. Under a shared name, a second application in the
   * process would answer for the first one's tokens.
   */
  readonly registeredAs = `bearer-${randomUUID()}`;

  constructor(private readonly tokens: TokenService) {
    super();
    passport.use(this.registeredAs, this);
  }

  onModuleDestroy(): void {
    passport.unuse(this.registeredAs);
  }

  /** Called by passport. @returns false where the token opens nothing */
  async validate(token: string): Promise<Principal | false> {
    return (await this.tokens.verify(token)) ?? false;
  }
}
