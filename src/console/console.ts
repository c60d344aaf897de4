import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Config, CONFIG } from '../config';
import { sendStored, type StoredFile } from '../http';
import { readConsole } from './console-files';

/**
 * The console's addresses. Each answers with the same page, whose script shows what the address names; a test opens
 * each of them. All others stay what they were: below `/api` nothing is taken, and what is unknown is a 404.
 */
const PAGES = [
  '/',
  '/containers/:id',
  '/deleted',
  '/events',
  '/usage',
  '/tokens',
  '/agents',
  '/admin/users',
  '/admin/containers',
  '/admin/images',
  '/admin/machine',
  '/admin/nodes',
  '/admin/audit',
];

/** Where `npm start` builds it, from the project's folder on. */
const FOLDER = 'apps/console/dist';

/**
 * A page of this server's own scripts, which talk to this server alone. Inline styles are xterm.js's, which draws black
 * on black without them.
 */
const PAGE_HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  // Asked again each time, and answered by a 304 mostly: after an update the next visit has the new console.
  'cache-control': 'no-cache',
} as const;

/** Its name has a hash of what it holds, so it never changes. */
const ASSET_HEADERS = {
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'public, max-age=31536000, immutable',
} as const;

/**
 * Serves the console at `/`, unless the setting `CONSOLE` is `off`. Where it was not built, its addresses are a 404 as
 * any other. Call it before `init()` or `listen()`.
 */
export function setUpConsole(app: NestFastifyApplication): void {
  if (app.get<Config>(CONFIG).CONSOLE === 'off') return;
  const fastify = app.getHttpAdapter().getInstance();
  const files = readConsole(FOLDER);
  const page = files.get('index.html');
  // Neither counts as a request to the API: both are small, and in memory.
  const config = { isPublicFile: true };
  for (const url of PAGES) {
    fastify.get(url, { config }, (request, reply) => send({ request, reply, file: page, headers: PAGE_HEADERS }));
  }
  fastify.get<{ Params: { file: string } }>('/assets/:file', { config }, (request, reply) =>
    send({ request, reply, file: files.get(`assets/${request.params.file}`), headers: ASSET_HEADERS }),
  );
  fastify.get('/favicon.svg', { config }, (request, reply) =>
    send({ request, reply, file: files.get('favicon.svg'), headers: PAGE_HEADERS }),
  );
}

interface Answer {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly file: StoredFile | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

function send({ request, reply, file, headers }: Answer): FastifyReply {
  if (!file) {
    reply.callNotFound();
    return reply;
  }
  return sendStored(file, { request, reply, headers });
}
