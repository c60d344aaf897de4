import type { Type } from '@nestjs/common';
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum';
import { ModulesContainer } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { ApiProperty } from '@nestjs/swagger';
import { getMetadataStorage, ValidationTypes } from 'class-validator';
import { MERGE_FORMS } from '../merge-patch';
import { parametersOf, routeHandlers } from '../route-handlers';
import { FIRST_LINE } from '../streamed-body';

type Validation = ReturnType<ReturnType<typeof getMetadataStorage>['getTargetValidationMetadatas']>[number];

/** The pattern without escapes that only JavaScript's literals need: of a slash and of line separators. */
function patternOf({ source }: RegExp): string {
  return source.replaceAll('\\/', '/').replaceAll('\\u2028', '\u2028').replaceAll('\\u2029', '\u2029');
}

/** JSON Schema keywords for each validator of class-validator, by the validator's name. */
const MEANINGS: Readonly<Record<string, (constraint: unknown, second: unknown) => object>> = {
  isOptional: () => ({ nullable: true }),
  isString: () => ({ type: 'string' }),
  isBoolean: () => ({ type: 'boolean' }),
  isInt: () => ({ type: 'integer' }),
  isIn: (values) => ({ enum: values }),
  min: (minimum) => ({ minimum }),
  max: (maximum) => ({ maximum }),
  minLength: (minLength) => ({ minLength }),
  maxLength: (maxLength) => ({ maxLength }),
  isLength: (minLength, maxLength) => ({ minLength, maxLength }),
  matches: (pattern) => ({ pattern: patternOf(pattern as RegExp) }),
  arrayNotEmpty: () => ({ minItems: 1 }),
  arrayMaxSize: (maxItems) => ({ maxItems }),
  arrayUnique: () => ({ uniqueItems: true }),
};

/** Validators ignored for query parameters, which cannot be null. */
const OF_BODIES = ['isOptional'];

/**
 * Adds to each field of bodies and queries what its validators imply: the schema, and that the field is optional. So no
 * limit is written twice. Other declarations of the schema stay.
 *
 * @returns the names of the body classes, whose unknown fields are refused
 */
export function describeInputs(app: NestFastifyApplication): ReadonlySet<string> {
  const bodies = new Set<string>();
  for (const { type, kind } of inputsOf(app.get(ModulesContainer))) {
    if (kind === 'body') bodies.add(type.name);
    for (const [property, validations] of Object.entries(validationsOf(type))) {
      const used = validations.filter(({ name = '' }) => kind === 'body' || !OF_BODIES.includes(name));
      const ofItems = meaningOf(used.filter(({ each }) => each));
      const ofAll = meaningOf(used.filter(({ each }) => !each));
      if (validations.some(isConditional) && !Array.isArray(metadataOf(type, property)['required'])) {
        Object.assign(ofAll, { required: false });
      }
      if (Object.keys(ofAll).length > 0) ApiProperty(ofAll)(type.prototype as object, property);
      if (Object.keys(ofItems).length > 0) describeItems(type, property, ofItems);
    }
  }
  return bodies;
}

/** True for `IsOptional` and `ValidateIf`: the field may be absent. */
function isConditional({ type }: Validation): boolean {
  return type === ValidationTypes.CONDITIONAL_VALIDATION;
}

function meaningOf(validations: readonly Validation[]): object {
  const meanings = validations.map(({ name = '', constraints }) => {
    const [constraint, second] = (constraints as unknown[] | undefined) ?? [];
    return MEANINGS[name]?.(constraint, second) ?? {};
  });
  return Object.assign({}, ...meanings) as object;
}

function describeItems(type: Type, property: string, items: object): void {
  const { isArray, enum: _choices, ...known } = metadataOf(type, property);
  // Items with choices already have an explicit declaration.
  if (isArray === true && !('items' in known && 'enum' in (known['items'] as object))) {
    ApiProperty({ type: 'array', isArray: false, items: { type: 'string', ...items } })(
      type.prototype as object,
      property,
    );
  }
}

function metadataOf(type: Type, property: string): Record<string, unknown> {
  return (Reflect.getMetadata('swagger/apiModelProperties', type.prototype as object, property) ?? {}) as Record<
    string,
    unknown
  >;
}

function validationsOf(type: Type): Record<string, Validation[]> {
  const all = getMetadataStorage().getTargetValidationMetadatas(type, '', false, false);
  return getMetadataStorage().groupByPropertyName(all);
}

/** The classes of every route's body and query. */
function* inputsOf(modules: ModulesContainer): Generator<{ type: Type; kind: 'body' | 'query' }> {
  for (const { controller, name, handler } of routeHandlers(modules)) {
    const firstLine = Reflect.getMetadata(FIRST_LINE, handler) as Type | undefined;
    if (firstLine) yield { type: firstLine, kind: 'body' };
    for (const type of (Reflect.getMetadata(MERGE_FORMS, handler) ?? []) as Type[]) yield { type, kind: 'body' };
    const types = (Reflect.getMetadata('design:paramtypes', controller.prototype as object, name) ?? []) as Type[];
    for (const kind of ['body', 'query'] as const) {
      for (const index of parametersOf(controller, name, PARAMETERS[kind])) {
        const type = types[index];
        if (type && type.prototype !== Object.prototype) yield { type, kind };
      }
    }
  }
}

const PARAMETERS = { body: RouteParamtypes.BODY, query: RouteParamtypes.QUERY };
