import type { OpenAPIObject } from '@nestjs/swagger';
import { changeSchemas, isSchema, mapSchema, resolved, type Schema } from './schemas';

/**
 * Converts Nest's schemas (OpenAPI 3.0) to those of 3.1, which are JSON Schema: null is a type, examples are a list,
 * and a reference may have a description beside it.
 */
export function toJsonSchema(document: OpenAPIObject): void {
  changeSchemas(document, (schema) => withNull(withPlainReference(withExamples(schema))));
}

/**
 * Moves each titled schema to the named components, from which generators make types, and puts a reference in its
 * place.
 *
 * @throws if two schemas of one title differ
 */
export function nameTitled(document: OpenAPIObject): void {
  const schemas = (document.components?.schemas ?? {}) as Record<string, Schema>;
  const found: Record<string, Schema> = {};
  changeSchemas(document, (schema) => {
    const { title, ...untitled } = schema;
    if (typeof title !== 'string') return schema;
    const { beside, definition } = withoutWords(untitled);
    const known = found[title];
    if (known && JSON.stringify(known) !== JSON.stringify(definition)) throw new Error(`${title} is two things`);
    found[title] = definition;
    return Object.assign({ $ref: `#/components/schemas/${title}` }, beside);
  });
  const named = Object.entries(found).sort(([one], [other]) => (one < other ? -1 : 1));
  for (const [name, definition] of named) schemas[name] = definition;
  if (document.components) document.components.schemas = schemas;
}

function withExamples(schema: Schema): Schema {
  const { example, ...rest } = schema;
  return example === undefined ? schema : { ...rest, examples: [example] };
}

/** Unwraps the `allOf` that Nest puts around a reference with other keywords beside it. */
function withPlainReference(schema: Schema): Schema {
  const { allOf, type, ...rest } = schema;
  const [only, ...more] = Array.isArray(allOf) ? (allOf as Schema[]) : [];
  if (!only || more.length > 0 || !('$ref' in only) || schema['properties'] !== undefined) return schema;
  return type === undefined || type === 'object' ? { ...only, ...rest } : schema;
}

function withNull(schema: Schema): Schema {
  const { nullable, ...rest } = schema;
  if (nullable === undefined) return schema;
  if (nullable !== true) return rest;
  const { type, enum: values } = rest;
  if (['$ref', 'title', 'allOf', 'anyOf', 'oneOf'].some((keyword) => keyword in rest)) {
    const { beside, definition } = withoutWords(rest);
    return { anyOf: [definition, { type: 'null' }], ...beside };
  }
  if (Array.isArray(values))
    return { ...rest, type: [type ?? 'string', 'null'], enum: [...(values as unknown[]), null] };
  return typeof type === 'string' ? { ...rest, type: [type, 'null'] } : rest;
}

/**
 * Separates keywords about one use (description, examples, default), which stay beside the reference, from the
 * definition.
 */
function withoutWords({ description, examples, default: usual, ...definition }: Schema): {
  beside: Schema;
  definition: Schema;
} {
  const words = Object.entries({ description, examples, default: usual }).filter(([, value]) => value !== undefined);
  return { beside: Object.fromEntries(words), definition };
}

/**
 * Replaces the `default` of fields by words in their description. Generators read the keyword as a promise that the
 * field is present, and would make it required in requests. Query parameters keep theirs.
 */
export function describeDefaults(document: OpenAPIObject): void {
  const schemas = (document.components?.schemas ?? {}) as Record<string, Schema>;
  for (const [name, schema] of Object.entries(schemas)) {
    schemas[name] = mapSchema(schema, ({ properties, ...rest }) => {
      if (!isSchema(properties)) return properties === undefined ? rest : { ...rest, properties };
      const fields = Object.entries(properties).map(([field, part]) => [field, withDefaultInWords(part as Schema)]);
      return { ...rest, properties: Object.fromEntries(fields) as Schema };
    });
  }
}

function withDefaultInWords({ default: usual, ...schema }: Schema): Schema {
  if (usual === undefined) return schema;
  const description = [schema['description'], `Default: ${JSON.stringify(usual)}.`].filter(Boolean).join(' ');
  return { ...schema, description };
}

/** Builds an example of a schema from those of its parts. */
export function exampleOf(schema: Schema, schemas: Readonly<Record<string, unknown>>): unknown {
  const { examples, $ref, allOf, anyOf, oneOf, properties, type, items, enum: values, default: usual } = schema;
  if (Array.isArray(examples)) return examples[0] as unknown;
  if ($ref !== undefined) return exampleOf(resolved(schema, schemas), schemas);
  if (Array.isArray(allOf)) {
    const parts = [...(allOf as Schema[]), { type: 'object', properties: properties ?? {} }];
    return Object.assign({}, ...parts.map((part) => exampleOf(part, schemas))) as object;
  }
  const [first] = [anyOf, oneOf].flatMap((list) => (Array.isArray(list) ? (list as Schema[]) : []));
  if (first) return exampleOf(first, schemas);
  if (Array.isArray(values)) return values[0] as unknown;
  if (usual !== undefined) return usual;
  if (isSchema(properties)) {
    const members = Object.entries(properties).map(([name, part]) => [name, exampleOf(part as Schema, schemas)]);
    return Object.fromEntries(members.filter(([, value]) => value !== undefined)) as object;
  }
  const [kind] = [type].flat();
  if (kind === 'array') return [exampleOf(items as Schema, schemas)];
  return kind === 'string' ? BY_FORMAT[String(schema['format'])] : BY_TYPE[String(kind)];
}

const BY_FORMAT: Readonly<Record<string, unknown>> = {
  uuid: '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11',
  'date-time': '2026-01-31T12:00:00.000Z',
  date: '2026-01-31',
};

const BY_TYPE: Readonly<Record<string, unknown>> = { boolean: false, object: {} };
