import { type ErrorObject, Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { readFileSync } from 'node:fs';

/** A response, from any of the tests' clients. */
export interface SeenAnswer {
  readonly method: string;
  /** With or without the server's address and the query. */
  readonly url: string;
  readonly status: number;
  readonly header: (name: string) => string | null | undefined;
  /** The JSON body; undefined if there is none, or if it is not checked. */
  readonly body?: unknown;
}

type Schema = Readonly<Record<string, unknown>>;

interface Described {
  readonly description: string;
  readonly headers?: Readonly<Record<string, Schema>>;
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

/** The event schemas of a stream. */
interface EventSchemas {
  readonly oneOf: readonly {
    readonly properties: { readonly event: { readonly enum: readonly string[] }; readonly data: Schema };
  }[];
}

interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { responses: Readonly<Record<string, Schema>> }>>>>;
  readonly components: Readonly<Record<'schemas' | 'responses' | 'headers', Readonly<Record<string, Schema>>>>;
}

interface AsyncApi {
  readonly channels: Readonly<
    Record<string, { readonly messages: Readonly<Record<string, { readonly payload: Schema }>> }>
  >;
}

/** Headers that clients rely on. A response that has one must be documented with it. */
const MEANT = [
  'allow',
  'content-disposition',
  'content-range',
  'etag',
  'idempotency-replayed',
  'link',
  'location',
  'ratelimit-limit',
  'ratelimit-remaining',
  'ratelimit-reset',
  'retry-after',
  'www-authenticate',
];

/** Statuses of requests that HTTP itself refuses, before a route is found. */
const WITHOUT_ROUTE = [400, 404, 405, 408, 413, 417, 421, 426, 429, 431, 503];

/** Served but not in the document: the documentation itself, and sockets. */
const NOT_DESCRIBED = /^\/api\/(docs(\/|$)|(open|async)api\.json$|stub\/)/;

/** Checks responses and messages against `docs/openapi.json` and `docs/asyncapi.json`. Caches compiled schemas. */
class Description {
  private readonly document = JSON.parse(readFileSync('docs/openapi.json', 'utf8')) as OpenApi;
  private readonly channels = (JSON.parse(readFileSync('docs/asyncapi.json', 'utf8')) as AsyncApi).channels;
  private readonly validators = new Map<string, ValidateFunction>();
  private readonly ajv = addFormats(new Ajv2020({ strict: false, discriminator: true, allErrors: true }));
  /** Paths with fewer parameters first, so that `/api/tokens/validate` does not match a token's path. */
  private readonly paths = Object.keys(this.document.paths)
    .map((path) => ({ path, pattern: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`) }))
    .sort((a, b) => a.path.split('{').length - b.path.split('{').length);

  /** @returns what the document does not describe of the response, with the route */
  faultsOf({ method, url, status, header, body }: SeenAnswer): string[] {
    const path = pathOf(url);
    if (!/^\/(api|health|metrics)(\/|$)/.test(path) || NOT_DESCRIBED.test(path) || method === 'OPTIONS') return [];
    const template = this.templateOf(path);
    const asked = method === 'HEAD' ? 'get' : method.toLowerCase();
    const operation = template === undefined ? undefined : this.document.paths[template]?.[asked];
    const at = `${method} ${template ?? path} → ${String(status)}`;
    const faults = operation
      ? this.ofResponse(operation.responses[String(status)], { at, header, body, isHead: method === 'HEAD' })
      : this.ofRefusal({ at, status, header, body });
    if (header('x-request-id') == null) faults.push(`${at}: header x-request-id is absent`);
    return faults;
  }

  /** The same for one event of a stream. */
  faultsOfEvent(stream: Pick<SeenAnswer, 'method' | 'url'>, event: { name: string; data: unknown }): string[] {
    const template = this.templateOf(pathOf(stream.url)) ?? '';
    const responses = this.document.paths[template]?.[stream.method.toLowerCase()]?.responses;
    const response = responses?.['200'] as Described | undefined;
    const events = response?.content?.['text/event-stream']?.schema['contentSchema'] as EventSchemas | undefined;
    const schema = events?.oneOf.find(({ properties }) => properties.event.enum.includes(event.name))?.properties.data;
    const at = `${stream.method} ${template} event ${event.name}`;
    return schema ? this.ofJson(at, schema, event.data) : [`${at}: is not described`];
  }

  /**
   * The same for a message that the server sent over a connection.
   *
   * @param payload all arguments if there are several
   */
  faultsOfMessage(channel: string, name: string, payload: unknown): string[] {
    const at = `${channel} message ${name}`;
    const schema = this.channels[channel]?.messages[name]?.payload;
    if (!schema) return [`${at}: is not described`];
    // Bytes are not a JSON value.
    return Array.isArray(schema['items']) ? [] : this.ofJson(at, schema, payload);
  }

  private templateOf(path: string): string | undefined {
    return this.paths.find(({ pattern }) => pattern.test(path))?.path;
  }

  private ofRefusal({ at, status, header, body }: Omit<SeenAnswer, 'method' | 'url'> & { at: string }): string[] {
    if (!WITHOUT_ROUTE.includes(status)) return [`${at}: there is no such route`];
    const faults = status === 405 && header('allow') == null ? [`${at}: header allow is absent`] : [];
    return body === undefined ? faults : [...faults, ...this.ofJson(at, { $ref: ERROR }, body)];
  }

  private ofResponse(
    response: Schema | undefined,
    { at, header, body, isHead }: { at: string; isHead: boolean } & Pick<SeenAnswer, 'header' | 'body'>,
  ): string[] {
    if (!response) return [`${at}: the status is not described`];
    const { headers = {}, content = {} } = this.resolve(response) as unknown as Described;
    const faults = this.ofHeaders(at, headers, header);
    const type = header('content-type')?.split(';', 1)[0];
    if (type == null || isHead) return faults;
    const described = content[type];
    if (!described) return [...faults, `${at}: the type ${type} is not described`];
    return body === undefined ? faults : [...faults, ...this.ofJson(`${at} ${type}`, described.schema, body)];
  }

  private ofHeaders(at: string, headers: Readonly<Record<string, Schema>>, header: SeenAnswer['header']): string[] {
    const known = new Map(Object.entries(headers).map(([name, each]) => [name.toLowerCase(), this.resolve(each)]));
    const unknown = MEANT.filter((name) => header(name) != null && !known.has(name));
    const wrong = [...known].flatMap(([name, { schema }]) => {
      const value = header(name);
      if (value == null) return [];
      const isNumber = (schema as Schema)['type'] === 'integer';
      return this.ofJson(`${at} header ${name}`, schema as Schema, isNumber ? Number(value) : value);
    });
    return [...unknown.map((name) => `${at}: header ${name} is not described`), ...wrong];
  }

  private ofJson(at: string, schema: Schema, value: unknown): string[] {
    // Many routes share errors and headers.
    const key = JSON.stringify(schema);
    const validate = this.validators.get(key) ?? this.compile(key, schema);
    if (validate(value)) return [];
    return (validate.errors ?? []).map((error) => `${at}: body${faultIn(error)}`);
  }

  private compile(key: string, schema: Schema): ValidateFunction {
    const validate: ValidateFunction = this.ajv.compile(this.closed(schema));
    this.validators.set(key, validate);
    return validate;
  }

  /** The schema with all references and parts inlined; unnamed fields are refused. */
  private closed(schema: Schema): Schema {
    const whole = this.whole(schema);
    const { properties, items, oneOf, anyOf, additionalProperties, discriminator } = whole;
    const each = (part: unknown): unknown => this.closed(part as Schema);
    const fields = properties as Record<string, Schema> | undefined;
    return Object.assign({}, whole, {
      ...(fields && {
        properties: Object.fromEntries(Object.entries(fields).map(([name, part]) => [name, each(part)])),
        additionalProperties: additionalProperties ?? false,
      }),
      ...(items !== undefined && { items: each(items) }),
      ...(Array.isArray(oneOf) && { oneOf: oneOf.map(each) }),
      ...(Array.isArray(anyOf) && { anyOf: anyOf.map(each) }),
      ...(discriminator !== undefined && {
        discriminator: { propertyName: (discriminator as Schema)['propertyName'] },
      }),
    });
  }

  /** Merges a schema with its references and its `allOf`. */
  private whole(schema: Schema): Schema {
    const { $ref, allOf = [], ...own } = schema;
    const parts = [...(typeof $ref === 'string' ? [{ $ref }] : []), ...(allOf as Schema[])].map((part) =>
      this.whole(this.resolve(part)),
    );
    return [...parts, own].reduce((merged: Schema, part: Schema) => {
      const properties = { ...(merged['properties'] as object) } as Record<string, Schema>;
      for (const [name, added] of Object.entries((part['properties'] ?? {}) as Record<string, Schema>)) {
        const known = properties[name];
        properties[name] = known ? { allOf: [known, added] } : added;
      }
      const required = [merged['required'], part['required']].flatMap((list) => (list ?? []) as string[]);
      const hasProperties = Object.keys(properties).length > 0;
      return { ...merged, ...part, ...(hasProperties && { properties, required }) };
    }, {});
  }

  private resolve(schema: Schema): Schema {
    const { $ref } = schema;
    if (typeof $ref !== 'string') return schema;
    const [, kind = '', name = ''] = /^#\/components\/(\w+)\/(.+)$/.exec($ref) ?? [];
    const found = this.document.components[kind as 'schemas'][name];
    if (!found) throw new Error(`${$ref} is missing`);
    return found;
  }
}

const ERROR = '#/components/schemas/ErrorResponse';

function faultIn({ instancePath, message, params }: ErrorObject): string {
  return `${instancePath.replaceAll('/', '.')} ${message ?? ''} ${JSON.stringify(params)}`;
}

function pathOf(url: string): string {
  return url.replace(/^https?:\/\/[^/?]*/i, '').split('?', 1)[0] ?? '';
}

/** Stored on the package, which a jest worker loads once, unlike this module: compiling takes longer than a test. */
const kept = Ajv2020 as { berth?: Description };
const description = (): Description => (kept.berth ??= new Description());

const faults = new Set<string>();

/** Fails the current test if `docs/openapi.json` does not describe the response. */
export function noteAnswer(answer: SeenAnswer): void {
  for (const fault of description().faultsOf(answer)) faults.add(fault);
}

/** The same for an event of a streamed response. */
export function noteEvent(stream: Pick<SeenAnswer, 'method' | 'url'>, event: { name: string; data: unknown }): void {
  for (const fault of description().faultsOfEvent(stream, event)) faults.add(fault);
}

/** The same for a message of a connection, checked against `docs/asyncapi.json`. */
export function noteMessage(channel: string, name: string, payload: unknown): void {
  for (const fault of description().faultsOfMessage(channel, name, payload)) faults.add(fault);
}

/** The same for a response of `fetch`. Its body can still be read. */
export async function described(method: string, response: Response): Promise<Response> {
  const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false;
  const text = isJson && method !== 'HEAD' ? await response.clone().text() : '';
  const { url, status, headers } = response;
  const body = text === '' ? undefined : (JSON.parse(text) as unknown);
  noteAnswer({ method, url, status, header: (name) => headers.get(name), body });
  return response;
}

function expectAllDescribed(): void {
  const found = [...faults];
  faults.clear();
  if (found.length > 0)
    throw new Error(`docs/openapi.json or docs/asyncapi.json does not describe:\n${found.join('\n')}`);
}

afterEach(expectAllDescribed);
afterAll(expectAllDescribed);
