import { CustomDecorator, SetMetadata } from '@nestjs/common';

export const AUDITED = 'berth:audited';

/** What is done to what, such as `container.start`. */
export type AuditAction = `${string}.${string}`;

/** Has each call of the route written down before it does anything, and its outcome afterwards. Every route that writes has one. */
export const Audited = (action: AuditAction): CustomDecorator => SetMetadata(AUDITED, action);
