import { type ValidationError, ValidationPipe } from '@nestjs/common';
import { registerDecorator, ValidationArguments, ValidationOptions } from 'class-validator';
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

/**
 * Constraints that speak of a value's type, by the names that class-validator has for them: reported before all others.
 */
const TYPES = ['isArray', 'isObject', 'isString', 'isInt', 'isBoolean'];

function messageOf({ constraints }: ValidationError): string | null {
  if (!constraints) return null;
  if ('whitelistValidation' in constraints) return 'unknown field';
  const type = TYPES.find((each) => each in constraints);
  // Decorators are evaluated from the bottom up, so the last message is the topmost one's.
  return (type === undefined ? Object.values(constraints).at(-1) : constraints[type]) ?? null;
}

/**
 * Checks what DTO classes declare. Unknown fields are refused, and nothing is converted that a DTO does not convert
 * itself.
 */
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

/** A plain object whose members are as `validate` says; `rule` says what that is. */
export function isObjectOf(
  name: string,
  { validate, rule, ...options }: { validate: (value: object) => boolean; rule: string } & ValidationOptions,
): PropertyDecorator {
  const message = ({ value }: ValidationArguments): string => (isObject(value) ? rule : 'must be an object');
  return validatedBy(name, (value) => isObject(value) && validate(value), { message, ...options });
}

/** A field for which `validate` is true. */
export function validatedBy(
  name: string,
  validate: (value: unknown) => boolean,
  options: ValidationOptions,
): PropertyDecorator {
  return (target, property) => {
    const propertyName = String(property);
    registerDecorator({ name, target: target.constructor, propertyName, options, validator: { validate } });
  };
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
