import { invalidParameters } from '../errors';
import type { ContainerRow } from './container.entity';

/** Where a page of the list ends: opaque to clients, so that its order may change. */
export function encodeCursor(last: ContainerRow): string {
  return Buffer.from(`${String(last.createdAt.getTime())} ${last.id}`).toString('base64url');
}

/** @throws DomainError `invalid_parameters` for anything that `encodeCursor` did not make */
export function decodeCursor(cursor: string): { createdAt: Date; id: string } {
  const match = /^(\d{1,15}) ([0-9a-f-]{36})$/.exec(Buffer.from(cursor, 'base64url').toString());
  if (!match?.[1] || !match[2]) {
    throw invalidParameters([{ field: 'cursor', message: 'cursor must be a next_cursor of an earlier answer' }]);
  }
  return { createdAt: new Date(Number(match[1])), id: match[2] };
}
