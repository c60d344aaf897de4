import { randomUUID } from 'node:crypto';
import { SMALL, testImage } from './api-client';
import type { TestUser } from '../servers/berth';
import { described } from './described';

/** The response of a creation with a key. The body is kept as text, to compare it to the letter. */
export interface KeyedAnswer {
  readonly status: number;
  readonly replayed: string | null;
  readonly text: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export const newKey = (): string => randomUUID();

/** Creates a container with an `Idempotency-Key`. */
export async function createUnder(
  key: string,
  user: TestUser,
  body: Readonly<Record<string, unknown>> = {},
): Promise<KeyedAnswer> {
  const asked = fetch(`${user.api.url}/api/containers`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${user.token}`,
      'content-type': 'application/json',
      'idempotency-key': key,
    },
    body: JSON.stringify({ image: 'custom', custom_image: testImage(), ...SMALL, ...body }),
  });
  const response = await described('POST', await asked);
  const text = await response.text();
  return {
    status: response.status,
    replayed: response.headers.get('idempotency-replayed'),
    text,
    body: JSON.parse(text) as Record<string, unknown>,
  };
}
