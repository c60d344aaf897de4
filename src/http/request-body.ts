import { RequestMethod, type Type } from '@nestjs/common';
import { METHOD_METADATA, ROUTE_ARGS_METADATA } from '@nestjs/common/constants';
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum';
import { MetadataScanner, ModulesContainer } from '@nestjs/core';
import { type NestFastifyApplication, RouteConfig } from '@nestjs/platform-fastify';
import { type FastifyInstance, type FastifyReply, FastifyRequest } from 'fastify';
import type { IncomingHttpHeaders } from 'node:http';
import { DomainError, invalidParameters } from '../errors';
import type { PreParsing } from './request-head';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route's handler has a `@Body()`. */
    takesBody?: boolean;
  }
}

/**
 * Has every route refuse a body that it does not take: a client that sends one expects something of it. No route has to
 * say so, since a handler takes a body by its `@Body()` alone. Call it before any route is added.
 */
export function refuseUntakenBodies(app: NestFastifyApplication, fastify: FastifyInstance): void {
  declareTakenBodies(app.get(ModulesContainer));
  // Fastify would not read the body of a GET, and so not see whether there is one.
  for (const method of ['GET', 'HEAD']) fastify.addHttpMethod(method, { hasBody: true, overrideExisting: true });
  fastify.addHook('preParsing', refuseForeignBody);
  fastify.addHook('preValidation', refuseBody);
}

/** Marks the handlers with a `@Body()`, to distinguish their routes from all others. */
function declareTakenBodies(modules: ModulesContainer): void {
  const scanner = new MetadataScanner();
  for (const { controllers } of modules.values()) {
    for (const { metatype } of controllers.values()) {
      const prototype = (metatype as Type).prototype as Record<string, object>;
      for (const name of scanner.getAllMethodNames(prototype)) {
        const handler = prototype[name];
        const isRoute = handler && Reflect.getMetadata(METHOD_METADATA, handler) in RequestMethod;
        if (isRoute && takesBody(metatype as Type, name)) {
          RouteConfig({ takesBody: true })(prototype, name, { value: handler });
        }
      }
    }
  }
}

function takesBody(controller: Type, method: string): boolean {
  const parameters = (Reflect.getMetadata(ROUTE_ARGS_METADATA, controller, method) ?? {}) as object;
  return Object.keys(parameters).some((key) => key.startsWith(`${String(RouteParamtypes.BODY)}:`));
}

/** A body that is no JSON is refused by what it is no route's of, rather than by its type. An empty one has no type. */
const refuseForeignBody: PreParsing = (request, _reply, payload, done) => {
  const { headers } = request.raw;
  const { streamsBody, takesBody } = request.routeOptions.config;
  const isEmpty = headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0;
  if (!isEmpty && (streamsBody || takesBody) && isEncoded(headers)) {
    // RFC 9110, 12.5.3: what would be taken.
    done(new DomainError('unsupported_media_type', { headers: { 'accept-encoding': 'identity' } }));
    return;
  }
  if (streamsBody) {
    done(null, payload);
    return;
  }
  // Clients that always send a type, such as curl with `-d ''`, need not be refused for it.
  if (isEmpty) delete headers['content-type'];
  else if (!takesBody && (!isJson(headers['content-type']) || isEncoded(headers))) {
    done(untaken());
    return;
  }
  done(null, payload);
};

function refuseBody(request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void): void {
  const { body } = request;
  if (request.routeOptions.config.streamsBody) {
    done();
    return;
  }
  // `{}` is what clients send that send JSON always; the parser lets nothing through but objects.
  const isEmpty = body === undefined || body === null || Object.keys(body).length === 0;
  if (isEmpty || request.routeOptions.config.takesBody) done();
  else done(untaken());
}

/** Whether a body is compressed, or encoded otherwise: Berth decodes none. */
function isEncoded({ 'content-encoding': coding }: IncomingHttpHeaders): boolean {
  return coding !== undefined && !/^(?:identity)?$/i.test(coding.trim());
}

function isJson(type: string | undefined): boolean {
  return type !== undefined && /^application\/json\b/i.test(type);
}

function untaken(): DomainError {
  return invalidParameters([{ field: 'body', message: 'must be empty: this route takes none' }]);
}

/** Deeper than anything the API takes, and shallow enough for every function that recurses into it. */
const MAX_DEPTH = 8;
const utf8 = new TextDecoder('utf-8', { fatal: true });
const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** The parser of every body. An empty one is no body: clients that always send the content type need not be refused. */
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

/**
 * @returns an object that holds no surprise: no key that reaches a prototype, no depth that exhausts the stack, and no
 *   NUL, which PostgreSQL cannot store
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
  // Half of a pair of UTF-16, which `\ud800` in JSON makes: UTF-8 has no such character, and would get another one.
  if (typeof value === 'string' && /\p{Surrogate}/u.test(value)) throw refused('must not contain lone surrogates');
  return typeof value === 'object' && value !== null;
}

function refused(message: string): DomainError {
  return invalidParameters([{ field: 'body', message }]);
}
