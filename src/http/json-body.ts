import { FastifyRequest } from 'fastify';
import { DomainError, invalidParameters } from '../errors';

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
 * @returns an object that holds no surprise: no key that reaches a prototype, no depth that exhausts the stack, and no NUL,
 * which PostgreSQL cannot store
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
  return typeof value === 'object' && value !== null;
}

function refused(message: string): DomainError {
  return invalidParameters([{ field: 'body', message }]);
}
