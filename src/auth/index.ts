export { AuditedCalls } from './audited-calls';
export { AuthModule } from './auth.module';
export { type AuditAction, Audited, AUDITED, CurrentPrincipal, Public, Scopes } from './decorators';
export { holdsScope, type Principal, type RouteScope, type Scope, SCOPES, grantedScopes } from './principal';
export { ScopeRefusals } from './scope-refusals';
export { TokenEntity } from './token.entity';
export { TokenService, type IssuedToken, type IssueToken, grantedEnd } from './token.service';
export { UserEntity } from './user.entity';
export { UserService, type EnsuredUser, userFaults, type NamedUser } from './user.service';
