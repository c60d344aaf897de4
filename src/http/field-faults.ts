import type { ValidationError } from '@nestjs/common';
import { FieldFault } from '../errors';

/** As many as help; a body can hold thousands of unknown fields. */
const MOST = 50;
const LONGEST_NAME = 100;

/** One entry for each faulty field, by its path (`env.PATH`, `tags.0`). */
export function fieldFaults(errors: readonly ValidationError[]): FieldFault[] {
  return collect(errors, '').slice(0, MOST);
}

function collect(errors: readonly ValidationError[], parent: string): FieldFault[] {
  return errors.flatMap((error) => {
    const field = `${parent}${error.property.slice(0, LONGEST_NAME)}`;
    const below = collect(error.children ?? [], `${field}.`);
    const message = messageOf(error);
    return message === null ? below : [{ field, message }, ...below];
  });
}

function messageOf({ constraints }: ValidationError): string | null {
  if (!constraints) return null;
  if ('whitelistValidation' in constraints) return 'unknown field';
  // Decorators are evaluated from the bottom up, so the last message is the topmost one's: the field's type, by habit.
  return Object.values(constraints).at(-1) ?? null;
}
