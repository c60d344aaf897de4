import { applyDecorators, type ValidationError, ValidationPipe } from '@nestjs/common';
import { ApiSchema } from '@nestjs/swagger';
import { Transform, type TransformFnParams } from 'class-transformer';
import { Matches, registerDecorator, ValidationArguments, ValidationOptions } from 'class-validator';
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

/**
 * A pattern for a text without NUL, which neither programs nor PostgreSQL take. Patterns of the documents use only what
 * the regular expressions of all languages have in common: a test says what that is.
 */
export const WITHOUT_NUL = '^[^\\x00]*$';

/** Controls, and what is invisible or turns the direction of what follows it: literal characters, as escapes differ. */
const UNPRINTABLE = '\\x00-\\x1f\\x7f-\\x9f\\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff';
const BLANK = ' \\xa0\u1680\u2000-\u200a\u202f\u205f\u3000';

/** At most `most` printable characters on one line, of any script. */
export function printable(most: number): RegExp {
  return new RegExp(`^[^${UNPRINTABLE}]{0,${String(most)}}$`, 'u');
}

/** 1 to `most` printable characters, and no blank at either end. */
export function printableName(most: number): RegExp {
  const end = `[^${UNPRINTABLE}${BLANK}]`;
  return new RegExp(`^${end}(?:[^${UNPRINTABLE}]{0,${String(most - 2)}}${end})?$`, 'u');
}

/** The form of a UUID, whatever its version, in any case. */
const UUID = /^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/;

/** A UUID in a query, as `format: uuid` has it: of any version, and in any case, which makes no difference. */
export function IsUuidText(): PropertyDecorator {
  return applyDecorators(
    Transform(({ value }: TransformFnParams): unknown => (typeof value === 'string' ? value.toLowerCase() : value)),
    Matches(UUID, { message: '$property must be a UUID' }),
  );
}

/** A whole body that the server takes, for the documents: it is what a page to try the API on sends. */
export const BodyExample = (body: object): ClassDecorator => ApiSchema({ examples: [body] } as object);

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
