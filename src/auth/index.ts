export { AuthModule } from './auth.module';
export { bearerToken, insufficientScope, invalidToken } from './bearer';
export { CurrentPrincipal, Public, Scopes } from './decorators';
export {
  holdsScope,
  type Principal,
  type RouteScope,
  type Scope,
  SCOPES,
  grantedScopes,
  USUAL_SCOPES,
} from './principal';
export { ScopeRefusals } from './auth.guard';
export { type SignIn, SignInCodes } from './sign-in-codes';
export { TokenEntity } from './token.entity';
export { TokenService, grantedEnd } from './token.service';
export { UserEntity } from './user.entity';
export { type UserChange, UserService, userFaults } from './user.service';
