import { invalidParameters } from '../errors';

/** The last entry of a page of a list that is ordered by time, newest first, and by id among those of one time. */
export interface PageEnd {
  readonly createdAt: Date;
  readonly id: string;
}

const FORM = /^(\d{1,15}) ([0-9a-f-]{36})$/;

/** Where a page ends, for the `cursor` of the next: opaque to clients, so that the order may change. */
export function encodeCursor({ createdAt, id }: PageEnd): string {
  return Buffer.from(`${String(createdAt.getTime())} ${id}`).toString('base64url');
}

/** @throws DomainError `invalid_parameters` for anything that `encodeCursor` did not make */
export function decodeCursor(cursor: string): PageEnd {
  const [, time, id] = FORM.exec(Buffer.from(cursor, 'base64url').toString()) ?? [];
  if (time === undefined || id === undefined) {
    throw invalidParameters([{ field: 'cursor', message: 'cursor must be a next_cursor of an earlier answer' }]);
  }
  return { createdAt: new Date(Number(time)), id };
}
