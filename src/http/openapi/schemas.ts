import type { OpenAPIObject } from '@nestjs/swagger';

export type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;

/** A schema as what it is, JSON: the document is remade in places that the library's types have no words for. */
export type Schema = Readonly<Record<string, unknown>>;

const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;

/** Every operation with its path. */
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

/** The schema with each schema in it, and then itself, in the place of which `change` puts another one. */
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

/** Changes every schema of the document in place, wherever it is. */
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
    // Of an example, nothing is a schema.
    if (key === 'example' || key === 'examples') continue;
    if (key === 'schema' && isSchema(value)) Object.assign(node, { schema: mapSchema(value, change) });
    else changeBelow(value, change);
  }
}

/**
 * The content of an answer that is a stream of Server-Sent Events. OpenAPI 3.1 has no word of its own for it, so that
 * it is a text, with the events in it as its content.
 *
 * @param events the schema of each one's `data`, which is JSON, by the event's name
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

/** What a reference refers to; the schema itself if it is none. @throws if that is not there */
export function resolved(schema: Schema, schemas: Readonly<Record<string, unknown>>): Schema {
  const { $ref } = schema;
  if (typeof $ref !== 'string') return schema;
  const target = schemas[$ref.replace('#/components/schemas/', '')];
  if (!isSchema(target)) throw new Error(`${$ref} is missing`);
  return target;
}
