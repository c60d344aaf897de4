import type { OpenAPIObject } from '@nestjs/swagger';

export type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;

/** A schema as plain JSON: the library's types do not cover all keywords that the document uses. */
export type Schema = Readonly<Record<string, unknown>>;

const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;

export function operationsOf({ paths }: OpenAPIObject): { path: string; method: string; operation: Operation }[] {
  return Object.entries(paths).flatMap(([path, item]) =>
    METHODS.flatMap((method) => {
      const operation = item[method];
      return operation ? [{ path, method, operation }] : [];
    }),
  );
}

const LISTS = ['allOf', 'anyOf', 'oneOf', 'prefixItems'];
const MAPS = ['properties', 'patternProperties', 'dependentSchemas', '$defs'];
const ONES = ['items', 'contentSchema', 'additionalProperties', 'propertyNames', 'not', 'if', 'then', 'else'];

/** Maps a schema bottom-up: `change` replaces each nested schema, and then the schema itself. */
export function mapSchema(schema: Schema, change: (schema: Schema) => Schema): Schema {
  const each = (value: unknown): unknown => (isSchema(value) ? mapSchema(value, change) : value);
  const parts = Object.entries(schema).map(([keyword, value]): [string, unknown] => {
    if (LISTS.includes(keyword) && Array.isArray(value)) return [keyword, value.map(each)];
    if (MAPS.includes(keyword) && isSchema(value)) {
      return [keyword, Object.fromEntries(Object.entries(value).map(([name, part]) => [name, each(part)]))];
    }
    return [keyword, ONES.includes(keyword) ? each(value) : value];
  });
  return change(Object.fromEntries(parts));
}

/** Changes every schema of the document in place. */
export function changeSchemas(document: OpenAPIObject, change: (schema: Schema) => Schema): void {
  const schemas = (document.components?.schemas ?? {}) as Record<string, Schema>;
  for (const [name, schema] of Object.entries(schemas)) schemas[name] = mapSchema(schema, change);
  changeBelow(document.paths, change);
  changeBelow(document.components?.responses, change);
  changeBelow(document.components?.headers, change);
}

function changeBelow(node: unknown, change: (schema: Schema) => Schema): void {
  if (typeof node !== 'object' || node === null) return;
  for (const [key, value] of Object.entries(node)) {
    // Examples contain no schemas.
    if (key === 'example' || key === 'examples') continue;
    if (key === 'schema' && isSchema(value)) Object.assign(node, { schema: mapSchema(value, change) });
    else changeBelow(value, change);
  }
}

/**
 * The content of a `text/event-stream` answer. OpenAPI 3.1 has no keyword for event streams, so it is a string whose
 * `contentSchema` describes the events.
 *
 * @param events the schema of each event's `data`, which is JSON, by the event's name
 */
export function eventStream(events: Readonly<Record<string, Schema>>): Record<'text/event-stream', object> {
  const each = Object.entries(events).map(([event, data]) => ({
    type: 'object',
    required: ['event', 'data'],
    properties: { event: { type: 'string', enum: [event] }, data, id: { type: 'string' } },
  }));
  const schema = { type: 'string', contentMediaType: 'text/event-stream', contentSchema: { oneOf: each } };
  return { 'text/event-stream': { schema } };
}

export function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Resolves a reference; returns any other schema itself. @throws if the target is missing */
export function resolved(schema: Schema, schemas: Readonly<Record<string, unknown>>): Schema {
  const { $ref } = schema;
  if (typeof $ref !== 'string') return schema;
  const target = schemas[$ref.replace('#/components/schemas/', '')];
  if (!isSchema(target)) throw new Error(`${$ref} is missing`);
  return target;
}
