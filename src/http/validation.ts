import { applyDecorators, type INestApplication, type ValidationError, ValidationPipe } from '@nestjs/common';
import { ROUTE_ARGS_METADATA } from '@nestjs/common/constants';
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum';
import { MetadataScanner, ModulesContainer } from '@nestjs/core';
import { ApiSchema } from '@nestjs/swagger';
import { Transform, type TransformFnParams } from 'class-transformer';
import { Matches, registerDecorator, ValidationArguments, ValidationOptions } from 'class-validator';
import { FieldFault, invalidParameters } from '../errors';

/** Maximum faults reported; a body can have thousands of unknown fields. */
const MOST = 50;
const LONGEST_NAME = 100;

/** Lists one entry for each faulty field, by its path (`env.PATH`, `tags.0`). */
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

/** class-validator's names of constraints on a value's type. They are reported before all others. */
const TYPES = ['isArray', 'isObject', 'isString', 'isInt', 'isBoolean'];

function messageOf({ constraints }: ValidationError): string | null {
  if (!constraints) return null;
  if ('whitelistValidation' in constraints) return 'unknown field';
  const type = TYPES.find((each) => each in constraints);
  // Decorators are evaluated from the bottom up, so the last message is that of the topmost decorator.
  return (type === undefined ? Object.values(constraints).at(-1) : constraints[type]) ?? null;
}

/**
 * Validates input against its DTO class. Unknown fields are refused, and only the DTO's own transforms convert
 * values.
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

/** Of all routes: parameters keep it for the life of the process. */
const inputPipe = createValidationPipe();

/**
 * Has the bodies and queries of all routes validated; to be called before routes are made. A global pipe would see
 * every parameter of a handler, at some ten promises each: path parameters and what decorators make are checked by
 * those who read them.
 */
export function validateInput(app: INestApplication): void {
  const scanner = new MetadataScanner();
  for (const { controllers } of app.get(ModulesContainer).values()) {
    for (const { metatype } of controllers.values()) {
      if (typeof metatype !== 'function') continue;
      for (const method of scanner.getAllMethodNames(metatype.prototype as object)) {
        const parameters = (Reflect.getMetadata(ROUTE_ARGS_METADATA, metatype, method) ?? {}) as Record<
          string,
          Parameter
        >;
        for (const [key, parameter] of Object.entries(parameters)) {
          const isInput = INPUTS.includes(Number(key.split(':', 1)[0]));
          if (isInput && parameter.pipes[0] !== inputPipe) parameter.pipes.unshift(inputPipe);
        }
      }
    }
  }
}

/** Nest's own description of a handler's parameter, by `KIND:INDEX`. */
interface Parameter {
  readonly pipes: unknown[];
}
const INPUTS: readonly number[] = [RouteParamtypes.BODY, RouteParamtypes.QUERY];

/** Requires a plain object that satisfies `validate`; `rule` is the error message. */
export function isObjectOf(
  name: string,
  { validate, rule, ...options }: { validate: (value: object) => boolean; rule: string } & ValidationOptions,
): PropertyDecorator {
  const message = ({ value }: ValidationArguments): string => (isObject(value) ? rule : 'must be an object');
  return validatedBy(name, (value) => isObject(value) && validate(value), { message, ...options });
}

/**
 * A pattern for text without NUL, which programs and PostgreSQL do not accept. Patterns in the documents use only
 * syntax that the regular expressions of all languages share; a test enforces this.
 */
export const WITHOUT_NUL = '^[^\\x00]*$';

/**
 * Control, invisible and direction-changing characters. Those above U+00FF are literal, since escapes differ among
 * languages.
 */
const UNPRINTABLE = '\\x00-\\x1f\\x7f-\\x9f\\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff';
const BLANK = ' \\xa0\u1680\u2000-\u200a\u202f\u205f\u3000';

/** At most `most` printable characters on one line, of any script. */
export function printable(most: number): RegExp {
  return new RegExp(`^[^${UNPRINTABLE}]{0,${String(most)}}$`, 'u');
}

/** 1 to `most` printable characters, without a blank at either end. */
export function printableName(most: number): RegExp {
  const end = `[^${UNPRINTABLE}${BLANK}]`;
  return new RegExp(`^${end}(?:[^${UNPRINTABLE}]{0,${String(most - 2)}}${end})?$`, 'u');
}

/** The form of a UUID of any version, in any case. */
const UUID = /^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/;

/** A UUID in a query, like `format: uuid`: of any version, and case-insensitive. */
export function IsUuidText(): PropertyDecorator {
  return applyDecorators(
    Transform(({ value }: TransformFnParams): unknown => (typeof value === 'string' ? value.toLowerCase() : value)),
    Matches(UUID, { message: '$property must be a UUID' }),
  );
}

/** An example of a whole body, for the OpenAPI document; the documentation page sends it. */
export const BodyExample = (body: object): ClassDecorator => ApiSchema({ examples: [body] } as object);

/** Adds a validator that requires `validate` to return true. */
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

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
