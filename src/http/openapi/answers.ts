import type { OpenAPIObject } from '@nestjs/swagger';
import { STATUS_CODES } from 'node:http';
import { type ApiFault, ERRORS, FAULT_EXAMPLES, FAULTS_EXTENSION, faultResponse } from '../../errors';
import { ACCEPT_JSON, MERGE_EXTENSION, MERGE_PATCH } from '../merge-patch';
import { exampleOf } from './json-schema';
import { type Operation, operationsOf, type Schema } from './schemas';

type ResponseObject = Extract<Operation['responses'][string], { description: string }>;

/** Errors that any route may answer, beside `invalid_parameters`. */
const EVERYWHERE: readonly ApiFault[] = [
  'request_timeout',
  'expectation_failed',
  'request_header_fields_too_large',
  'internal_error',
];
/** Probes are served under any host name and have no rate limit. */
const PROBES = '/health/';
const BY_NAME: readonly ApiFault[] = ['misdirected_request'];
/** Errors of routes that read their body first, even if they take none. */
const OF_BODIES: readonly ApiFault[] = ['body_too_large'];
/** Errors of routes that take a body: its type may be wrong, or it may be compressed. */
const WITH_BODY: readonly ApiFault[] = ['unsupported_media_type'];
const WITH_TOKEN: readonly ApiFault[] = ['unauthorized', 'insufficient_permissions', 'user_suspended'];
const LIMITED: readonly ApiFault[] = ['rate_limit_exceeded'];
/** Errors of routes that need the database, which are those of the API. */
const WITH_DATABASE: readonly ApiFault[] = [
  'database_busy',
  'database_unavailable',
  'database_read_only',
  'storage_full',
  'shutting_down',
];

/** Responses that many routes share, by their names in the document. */
const SHARED: Readonly<Record<string, readonly ApiFault[]>> = {
  BadRequest: ['invalid_parameters'],
  Unauthorized: ['unauthorized'],
  Forbidden: ['insufficient_permissions', 'user_suspended'],
  OfContainerInvalid: ['invalid_parameters', 'ambiguous_id'],
  OfContainerForbidden: ['insufficient_permissions', 'user_suspended', 'not_authorized', 'guest_session_expired'],
  InsideForbidden: [
    'insufficient_permissions',
    'user_suspended',
    'not_authorized',
    'guest_session_expired',
    'exec_not_allowed',
  ],
  OfContainerNotFound: ['container_not_found', 'agent_not_found'],
  RequestTimeout: ['request_timeout'],
  BodyTooLarge: ['body_too_large'],
  UnsupportedMediaType: ['unsupported_media_type'],
  ExpectationFailed: ['expectation_failed'],
  Misdirected: BY_NAME,
  TooManyRequests: LIMITED,
  HeadersTooLarge: ['request_header_fields_too_large'],
  InternalError: ['internal_error'],
  Unavailable: WITH_DATABASE,
};

const seconds = (description: string, example: number) => ({
  description,
  schema: { type: 'integer', minimum: 0 },
  example,
});

const HEADERS = {
  RequestId: {
    description: "The request's id if it is valid, otherwise a generated one. It is also in the log.",
    schema: { type: 'string', pattern: '^[A-Za-z0-9._-]{1,128}$' },
    example: '0b7e5c1a-2f64-4d0e-9a35-6b1f0c2d3e4f',
  },
  Location: {
    description: 'Address of the created resource.',
    schema: { type: 'string', format: 'uri-reference' },
    example: '/api/containers/3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11',
  },
  RateLimitLimit: seconds('Requests per window, for the limit closest to being reached.', 600),
  RateLimitRemaining: seconds('Requests left in the window.', 599),
  RateLimitReset: seconds('Seconds until the next window.', 60),
};

const header = (name: keyof typeof HEADERS) => ({ $ref: `#/components/headers/${name}` });
const ON_EVERY = { 'x-request-id': header('RequestId') };
const ON_LIMITED = {
  'RateLimit-Limit': header('RateLimitLimit'),
  'RateLimit-Remaining': header('RateLimitRemaining'),
  'RateLimit-Reset': header('RateLimitReset'),
};

/**
 * Adds to each operation the errors common to such routes, and headers.
 *
 * @param isLimited true for paths of the API, whose answers have rate limit headers
 */
export function documentAnswers(document: OpenAPIObject, isLimited: (path: string) => boolean): void {
  const shared = Object.entries(SHARED).map(([name, faults]) => [name, withHeaders(faultResponse(faults), ON_LIMITED)]);
  document.components = Object.assign(document.components ?? {}, {
    headers: HEADERS,
    examples: FAULT_EXAMPLES,
    responses: Object.fromEntries(shared) as Record<string, ResponseObject>,
  });
  for (const { path, operation } of operationsOf(document)) {
    documentMergePatch(operation);
    const limited = isLimited(path);
    documentFaults(operation, { path, isLimited: limited });
    for (const [status, response] of Object.entries(operation.responses)) {
      if (!response || '$ref' in response) continue;
      response.description ||= STATUS_CODES[status] ?? '';
      const made = status === '201' || status === '202' ? { Location: header('Location') } : {};
      withHeaders(response, Object.assign(made, limited ? ON_LIMITED : {}));
    }
  }
}

/** Adds the media type of merge patches to the body of a route that takes them. */
function documentMergePatch(operation: Operation & { [MERGE_EXTENSION]?: string }): void {
  const { requestBody, [MERGE_EXTENSION]: name } = operation;
  Reflect.deleteProperty(operation, MERGE_EXTENSION);
  if (name === undefined || !requestBody || !('content' in requestBody)) return;
  requestBody.content[MERGE_PATCH] = { schema: { $ref: `#/components/schemas/${name}` } };
}

function documentFaults(operation: Operation, { path, isLimited }: { path: string; isLimited: boolean }): void {
  const extended = operation as Operation & { [FAULTS_EXTENSION]?: readonly ApiFault[] };
  const types = bodyTypes(operation);
  const isStreamed = types.length > 0 && !types.includes('application/json');
  const faults = new Set<ApiFault>([
    'invalid_parameters',
    ...(extended[FAULTS_EXTENSION] ?? []),
    ...EVERYWHERE,
    ...(isStreamed ? [] : OF_BODIES),
    ...(types.length > 0 ? WITH_BODY : []),
    ...(operation.security?.length ? WITH_TOKEN : []),
    ...(path.startsWith(PROBES) ? [] : [...LIMITED, ...BY_NAME]),
    ...(isLimited ? WITH_DATABASE : []),
  ]);
  Reflect.deleteProperty(extended, FAULTS_EXTENSION);
  for (const status of new Set([...faults].map((fault) => ERRORS[fault].status))) {
    const alike = [...faults].filter((fault) => ERRORS[fault].status === status);
    operation.responses[String(status)] ??= sharedResponse(alike) ?? faultResponse(alike);
  }
}

function bodyTypes({ requestBody }: Operation): string[] {
  return requestBody && 'content' in requestBody ? Object.keys(requestBody.content) : [];
}

function sharedResponse(faults: readonly ApiFault[]): { $ref: string } | undefined {
  const isSame = (others: readonly ApiFault[]): boolean =>
    others.length === faults.length && others.every((fault) => faults.includes(fault));
  const found = Object.entries(SHARED).find(([, others]) => isSame(others));
  return found && { $ref: `#/components/responses/${found[0]}` };
}

function withHeaders(response: ResponseObject, more: object): ResponseObject {
  return Object.assign(response, { headers: Object.assign({}, response.headers, ON_EVERY, more) });
}

/**
 * Gives each body and each successful answer an example: its schema's own, or one built from its fields. Call it when
 * the schemas are final.
 */
export function documentExamples(document: OpenAPIObject): void {
  const schemas = document.components?.schemas ?? {};
  for (const { operation } of operationsOf(document)) {
    const { requestBody } = operation;
    const content = requestBody && 'content' in requestBody ? requestBody.content : {};
    for (const body of [content[ACCEPT_JSON], content[MERGE_PATCH]]) {
      if (body?.schema) body.example ??= exampleOf(body.schema as Schema, schemas);
    }
    for (const [status, response] of Object.entries(operation.responses)) {
      if (!status.startsWith('2') || !response || !('content' in response)) continue;
      const json = response.content['application/json'];
      if (!json?.schema || 'example' in json || 'examples' in json) continue;
      json.example = exampleOf(json.schema as Schema, schemas);
    }
  }
}
