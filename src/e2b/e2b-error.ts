import { HttpException } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import { FASTIFY_ROUTE_CONFIG_METADATA } from '@nestjs/platform-fastify/constants';
import type { ErrorAnswer } from '../errors';

/** An error with a message of E2B's form, for what Berth cannot do; the message names the alternative. */
export class E2bError extends HttpException {
  /** @param field the faulty field of the request, which the message then begins with */
  constructor(status: number, message: string, field?: string) {
    super(field === undefined ? message : `${field}: ${message}`, status);
  }
}

/** The form that E2B's clients read: the HTTP status as `code`, and one sentence. */
function errorForm({ status, body }: ErrorAnswer, thrown: unknown): object {
  return { code: status, message: thrown instanceof E2bError ? thrown.message : messageOf(body) };
}

export function messageOf({ error, code, details }: ErrorAnswer['body']): string {
  const faults = (Array.isArray(details) ? details : []) as { field: string; message: string }[];
  if (faults.length > 0) return faults.map(({ field, message }) => `${field}: ${message}`).join('; ');
  return error.replaceAll(' ', '_') === code ? error : `${error} (${code})`;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The body of the route's errors; absent: Berth's own form. */
    errorForm?: (answer: ErrorAnswer, thrown: unknown) => object;
    /** Whether the route takes an API token in `X-API-KEY` too. */
    takesApiKey?: boolean;
  }
}

/** Gives the routes of a controller E2B's form of errors. @param options.takesApiKey reads `X-API-KEY` as a token */
export function E2bRoutes(options: { takesApiKey: boolean }): ClassDecorator {
  return ({ prototype }) => {
    const methods = prototype as Record<string, unknown>;
    for (const name of Object.getOwnPropertyNames(methods)) {
      const handler = methods[name];
      if (name === 'constructor' || typeof handler !== 'function') continue;
      const own = Reflect.getMetadata(FASTIFY_ROUTE_CONFIG_METADATA, handler) as object | undefined;
      RouteConfig({ errorForm, ...options, ...own })(methods, name, { value: handler });
    }
  };
}
