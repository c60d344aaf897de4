import { createHash } from 'node:crypto';
import { type ChangeDecision, FILE_TYPE, type FileState } from '../../engine';
import { evaluate, isConditional, type Representation } from '../../http';
import type { FastifyRequest } from 'fastify';
import type { ContainerPath } from './container-path';
import { timeOf } from './listing';

/** A request whose headers may contain conditions. */
export type ConditionalRequest = Pick<FastifyRequest, 'method' | 'headers'>;

/** The validators that conditions are compared with. A directory has no ETag. */
export function representationOf(
  path: ContainerPath,
  { mode, modifiedAt, version }: FileState,
): Representation & { lastModified: Date } {
  const digest = createHash('sha256').update(path.bytes).update('\0').update(version).digest('base64url');
  const isDirectory = (mode & FILE_TYPE.mask) === FILE_TYPE.directory;
  return { etag: isDirectory ? null : `"${digest.slice(0, 27)}"`, lastModified: timeOf(modifiedAt) };
}

/**
 * @param pathOf what is at a path, and the path of that
 * @returns the decision by the request's conditions whether it may change a file; null if it has none
 */
export function decisionOf(
  request: ConditionalRequest | undefined,
  pathOf: (at: 'file' | 'directory') => ContainerPath,
): ChangeDecision | null {
  if (!request || !isConditional(request.headers)) return null;
  return (state, at) => evaluate(request, state && representationOf(pathOf(at), state)) === 'proceed';
}
