export { AuthModule } from './auth.module';
export { guardBeforeBodies } from './early-guard';
export { bearerToken, insufficientScope, invalidToken } from './bearer';
export { CurrentPrincipal, ForContainerTokens, Public, Scopes } from './decorators';
export {
  type BoundContainer,
  earliest,
  grantedEnd,
  grantedScopes,
  holdsScope,
  type Principal,
  type RouteScope,
  type Scope,
  SCOPES,
  setCaller,
  USUAL_SCOPES,
} from './principal';
export { ScopeRefusals } from './auth.guard';
export { type SignIn, SignInCodes } from './sign-in-codes';
export { TOKEN_FORMATS, TokenEntity, type TokenFormat } from './token.entity';
export { TokenDaysField, TokenScopesField } from './token-fields';
export { TokenReach } from './token-reach';
export { TokenRequests } from './token-requests';
export { type IssuedToken, TokenService } from './token.service';
export { type ConnectionGroup, dependsOn, type OpenConnection, OpenConnections } from './open-connections';
export { UserEntity } from './user.entity';
export { type UserChange, lockUser, UserService, userFaults } from './user.service';
