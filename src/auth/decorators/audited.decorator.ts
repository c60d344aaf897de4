import { applyDecorators, SetMetadata, UseInterceptors } from '@nestjs/common';
import { AuditedInterceptor } from '../audited-calls';

export const AUDITED = 'berth:audited';

/** What is done to what, such as `container.start`. */
export type AuditAction = `${string}.${string}`;

/** Has each call of the route written down before it does anything, and its outcome afterwards. Every route that writes has one. */
export const Audited = (action: AuditAction): MethodDecorator =>
  applyDecorators(SetMetadata(AUDITED, action), UseInterceptors(AuditedInterceptor));
