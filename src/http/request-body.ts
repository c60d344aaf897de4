import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum';
import { ModulesContainer } from '@nestjs/core';
import { type NestFastifyApplication, RouteConfig } from '@nestjs/platform-fastify';
import { FASTIFY_ROUTE_CONFIG_METADATA } from '@nestjs/platform-fastify/constants';
import { type FastifyInstance, type FastifyReply, FastifyRequest } from 'fastify';
import type { IncomingHttpHeaders } from 'node:http';
import { DomainError, invalidParameters } from '../errors';
import { ACCEPT_JSON, ACCEPT_PATCHES, isAccepted, MERGE_FORMS, MergePatch } from './merge-patch';
import type { PreParsing } from './request-head';
import { parametersOf, routeHandlers } from './route-handlers';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route's handler has a `@Body()`. */
    takesBody?: boolean;
    /** The media types of a `@Body()`, as in `Accept-Patch`. */
    accepts?: string;
  }
}

/**
 * Makes every route refuse a body that it does not take, since a client expects an effect from a body that it sends.
 * Routes declare nothing: a handler takes a body if it has a `@Body()`. Call this before any route is added.
 */
export function refuseUntakenBodies(app: NestFastifyApplication, fastify: FastifyInstance): void {
  declareTakenBodies(app.get(ModulesContainer));
  // By default, Fastify does not read the body of a GET, and so would not detect one.
  for (const method of ['GET', 'HEAD']) fastify.addHttpMethod(method, { hasBody: true, overrideExisting: true });
  fastify.addHook('preParsing', refuseForeignBody);
  fastify.addHook('preValidation', refuseBody);
}

/** Marks the routes whose handlers have a `@Body()`. */
function declareTakenBodies(modules: ModulesContainer): void {
  for (const { controller, name, handler } of routeHandlers(modules)) {
    if (parametersOf(controller, name, RouteParamtypes.BODY).length === 0) continue;
    const accepts = Reflect.hasMetadata(MERGE_FORMS, handler) ? ACCEPT_PATCHES : ACCEPT_JSON;
    const known = Reflect.getMetadata(FASTIFY_ROUTE_CONFIG_METADATA, handler) as object | undefined;
    RouteConfig({ ...known, takesBody: true, accepts })(controller.prototype as object, name, { value: handler });
  }
}

/** Refuses an unwanted body as such, rather than by its media type. An empty body needs no type. */
const refuseForeignBody: PreParsing = (request, _reply, payload, done) => {
  const { headers } = request.raw;
  const { streamsBody, takesBody, accepts, takesGzip } = request.route ?? {};
  const isEmpty = headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0;
  if (!isEmpty && (streamsBody || takesBody) && isEncoded(headers, takesGzip)) {
    // RFC 9110, 12.5.3: names the accepted coding.
    done(new DomainError('unsupported_media_type', { headers: { 'accept-encoding': 'identity' } }));
    return;
  }
  if (streamsBody) {
    done(null, payload);
    return;
  }
  // Accepts clients that always send a type, such as curl with `-d ''`.
  if (isEmpty) delete headers['content-type'];
  else if (accepts !== undefined && !isAccepted(accepts, headers['content-type'])) {
    const ofPatch = request.method === 'PATCH' ? { headers: { 'accept-patch': accepts } } : {};
    done(new DomainError('unsupported_media_type', ofPatch));
    return;
  } else if (!takesBody && (!isJson(headers['content-type']) || isEncoded(headers))) {
    done(untaken());
    return;
  }
  done(null, payload);
};

function refuseBody(request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void): void {
  const { body } = request;
  if (request.route?.streamsBody) {
    done();
    return;
  }
  // Some clients always send JSON, and so send `{}`. The parser accepts only objects.
  const isEmpty = body === undefined || body === null || Object.keys(body).length === 0;
  if (isEmpty || request.route?.takesBody) done();
  else done(untaken());
}

/** True if a body is compressed or otherwise encoded: Berth decodes none, but gzip where a route says so. */
function isEncoded({ 'content-encoding': coding }: IncomingHttpHeaders, takesGzip = false): boolean {
  if (takesGzip && coding === 'gzip') return false;
  return coding !== undefined && !/^(?:identity)?$/i.test(coding.trim());
}

function isJson(type: string | undefined): boolean {
  return type !== undefined && /^application\/json\b/i.test(type);
}

function untaken(): DomainError {
  return invalidParameters([{ field: 'body', message: 'must be empty: this route takes no body' }]);
}

/** Maximum nesting: deeper than any valid request, and safe for recursive functions. */
const MAX_DEPTH = 8;
const utf8 = new TextDecoder('utf-8', { fatal: true });
const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** Parses JSON bodies. An empty one counts as no body: some clients always send the content type. */
export function jsonBodyParser(
  _request: FastifyRequest,
  body: Buffer,
  done: (error: Error | null, body?: unknown) => void,
): void {
  if (body.length === 0) {
    done(null, undefined);
    return;
  }
  try {
    done(null, parseJsonBody(body));
  } catch (error) {
    done(error as Error);
  }
}

/** Parses bodies of the type `application/merge-patch+json`. */
export function mergePatchParser(
  _request: FastifyRequest,
  body: Buffer,
  done: (error: Error | null, body?: unknown) => void,
): void {
  jsonBodyParser(_request, body, (error, parsed) => {
    done(error, parsed === undefined ? undefined : new MergePatch(parsed as object));
  });
}

/**
 * Parses a JSON object and refuses dangerous contents: keys that reach a prototype, nesting that exhausts the stack,
 * NUL, which PostgreSQL cannot store, and lone surrogates, which UTF-8 cannot represent.
 *
 * @throws DomainError `invalid_parameters`
 */
export function parseJsonBody(body: Uint8Array): object {
  const parsed = parse(body);
  // An array would pass the validation of a DTO class unchecked.
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw refused('must be a JSON object');
  let level: object[] = [parsed];
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > MAX_DEPTH) throw refused(`must not be nested deeper than ${String(MAX_DEPTH)} levels`);
    level = level.flatMap((node) => (Array.isArray(node) ? node : membersOf(node)).filter(isNode));
  }
  return parsed;
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(body));
  } catch {
    throw refused('must be valid JSON in UTF-8');
  }
}

function membersOf(node: object): unknown[] {
  return Object.entries(node).map(([key, value]: [string, unknown]) => {
    if (FORBIDDEN_KEYS.has(key)) throw refused('must not use the keys __proto__, constructor and prototype');
    if (key.includes('\0')) throw refused('must not contain NUL characters');
    return value;
  });
}

function isNode(value: unknown): value is object {
  if (typeof value === 'string' && value.includes('\0')) throw refused('must not contain NUL characters');
  // A lone surrogate, such as `\ud800` in JSON, does not exist in UTF-8 and would be replaced by another character.
  if (typeof value === 'string' && /\p{Surrogate}/u.test(value)) throw refused('must not contain lone surrogates');
  return typeof value === 'object' && value !== null;
}

function refused(message: string): DomainError {
  return invalidParameters([{ field: 'body', message }]);
}
