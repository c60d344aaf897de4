import { z } from 'zod';
import { DomainError } from '../errors';

/** How deep the JSON of a line may be. */
const MOST_DEPTH = 64;
const TEXT = z.string();

const LINES = z.discriminatedUnion('type', [
  // `lost`: so many lines are no longer kept, and this one, which says so, has no number.
  z.object({ type: z.enum(['stdout', 'stderr']), text: TEXT, lost: z.int().min(1).optional() }),
  z.looseObject({ type: z.literal('result'), is_main_result: z.boolean() }),
  z.object({ type: z.literal('error'), name: TEXT, value: TEXT, traceback: TEXT }),
  z.object({ type: z.literal('number_of_executions'), execution_count: z.int().min(0) }),
  z.object({
    type: z.enum(['interrupted', 'restarted']),
    reason: z.enum(['timeout', 'disconnect', 'restart', 'died']),
  }),
  z.object({ type: z.literal('end_of_execution') }),
]);

/** A line of the server of the image `code`: see packages/code-server. */
export type CodeLine = z.output<typeof LINES>;

const KNOWN: readonly unknown[] = LINES.options.flatMap(({ shape: { type } }) => [...type.values]);

/** @returns null for a line of a type that is not known @throws DomainError `application_failed` */
export function parseLine(text: string): CodeLine | null {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || isDeep(value, MOST_DEPTH)) throw new Error('no line');
    return KNOWN.includes((value as { type?: unknown }).type) ? LINES.parse(value) : null;
  } catch (cause) {
    throw new DomainError('application_failed', { cause });
  }
}

function isDeep(value: unknown, most: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return most === 0 || Object.values(value).some((each) => isDeep(each, most - 1));
}
