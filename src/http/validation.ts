import { type ValidationError, ValidationPipe } from '@nestjs/common';
import { FieldFault, invalidParameters } from '../errors';

/** As many as help; a body can hold thousands of unknown fields. */
const MOST = 50;
const LONGEST_NAME = 100;

/** One entry for each faulty field, by its path (`env.PATH`, `tags.0`). */
function fieldFaults(errors: readonly ValidationError[]): FieldFault[] {
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

/** Constraints that speak of a value's type, by the names that class-validator has for them: told before all others. */
const TYPES = ['isArray', 'isObject', 'isString', 'isInt', 'isBoolean'];

function messageOf({ constraints }: ValidationError): string | null {
  if (!constraints) return null;
  if ('whitelistValidation' in constraints) return 'unknown field';
  const type = TYPES.find((each) => each in constraints);
  // Decorators are evaluated from the bottom up, so the last message is the topmost one's.
  return (type === undefined ? Object.values(constraints).at(-1) : constraints[type]) ?? null;
}

/** Checks what DTO classes declare. Unknown fields are refused, and nothing is converted that a DTO does not convert itself. */
export function createValidationPipe(): ValidationPipe {
  return new ValidationPipe({
    whitelist: true,
    forbidNonWhitelisted: true,
    forbidUnknownValues: true,
    transform: true,
    transformOptions: { enableImplicitConversion: false, exposeUnsetFields: false },
    validationError: { target: false, value: false },
    exceptionFactory: (errors) => invalidParameters(fieldFaults(errors)),
  });
}
