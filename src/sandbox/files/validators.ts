import { createHash } from 'node:crypto';
import type { ChangeDecision, FileState } from '../../docker';
import { evaluate, isConditional, type Representation } from '../../http';
import type { FastifyRequest } from 'fastify';
import { timeOf } from './listing';

/** A request whose headers may contain conditions. */
export type ConditionalRequest = Pick<FastifyRequest, 'method' | 'headers'>;

/** The validators that conditions are compared with. A directory has no ETag. */
export function representationOf({ mode, modifiedAt, version }: FileState): Representation & { lastModified: Date } {
  const digest = createHash('sha256').update(version).digest('base64url');
  const etag = mode.startsWith('d') ? null : `"${digest.slice(0, 27)}"`;
  return { etag, lastModified: timeOf(modifiedAt) };
}

/** @returns the decision by the request's conditions whether it may change a file; null if it has none */
export function decisionOf(request: ConditionalRequest | undefined): ChangeDecision | null {
  if (!request || !isConditional(request.headers)) return null;
  return (state) => evaluate(request, state && representationOf(state)) === 'proceed';
}
