import { randomUUID } from 'node:crypto';
import type { TestUser } from '../servers/berth';
import type { Answer } from './api-client';

/** The response of a creation with a key. */
export interface KeyedAnswer extends Omit<Answer, 'headers'> {
  readonly replayed: string | null;
}

export const newKey = (): string => randomUUID();

/** Creates a container with an `Idempotency-Key`. */
export async function createUnder(
  key: string,
  user: TestUser,
  body?: Readonly<Record<string, unknown>>,
): Promise<KeyedAnswer> {
  const { headers, ...answer } = await user.api.create(body, { 'idempotency-key': key });
  return { ...answer, replayed: headers.get('idempotency-replayed') };
}
