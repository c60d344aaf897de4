import { createHash } from 'node:crypto';
import { DomainError } from '../../errors';
import { evaluate, isConditional, type Representation } from '../../http';
import type { FastifyRequest } from 'fastify';
import type { ContainerPath } from './container-path';
import { describe } from './listing';
import type { ScriptRun } from './script-run';
import { NOTHING } from './scripts';

/** A request whose headers may contain conditions. */
export type ConditionalRequest = Pick<FastifyRequest, 'method' | 'headers'>;

/**
 * The validators that conditions are compared with. The ETag changes with the path, the size, and the time of
 * modification, to the nanosecond if the file system has it.
 *
 * @param words the mode, the size, the seconds, and the full time
 * @returns null if the words do not have this format
 */
export function representationOf(path: ContainerPath, words: string): Representation | null {
  const description = describe(path, words);
  if (!description) return null;
  const [, size = '', ...time] = words.split(' ');
  const digest = createHash('sha256')
    .update(`${path.argument} ${size} ${time.join(' ')}`)
    .digest('base64url');
  const etag = description.is_dir ? null : `"${digest.slice(0, 27)}"`;
  return { etag, lastModified: new Date(description.mod_time) };
}

/**
 * The last argument of a script that changes a file: `conditional` if the script has to ask first, and waits for
 * {@link decide}.
 */
export function conditionOf(request: ConditionalRequest | undefined): '' | 'conditional' {
  return request && isConditional(request.headers) ? 'conditional' : '';
}

/**
 * Tells a script, which has described the file at its path, whether it may change that file.
 *
 * @throws DomainError `precondition_failed`; `tools_failed` if the description is malformed
 */
export function decide(
  run: ScriptRun,
  request: ConditionalRequest,
  { path, words }: { path: ContainerPath; words: string },
): void {
  const current = words === NOTHING ? null : representationOf(path, words);
  if (words !== NOTHING && !current) throw new DomainError('tools_failed');
  if (evaluate(request, current) !== 'proceed') {
    run.release();
    throw new DomainError('precondition_failed');
  }
  run.say('go\n');
}
