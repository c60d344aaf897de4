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
   * Passport's registry of strategies is global to the process. Under a shared name, a second application in the
   * process would verify the first one's tokens.
   */
  readonly registeredAs = `bearer-${randomUUID()}`;

  constructor(private readonly tokens: TokenService) {
    super();
    passport.use(this.registeredAs, this);
  }

  onModuleDestroy(): void {
    passport.unuse(this.registeredAs);
  }

  /** Called by passport. @returns false if the token is invalid */
  async validate(token: string): Promise<Principal | false> {
    return (await this.tokens.verify(token)) ?? false;
  }
}
