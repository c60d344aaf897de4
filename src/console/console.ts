import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Config, CONFIG } from '../config';
import { sendStored, type StoredFile } from '../http';
import { readConsole } from './console-files';

/**
 * The console's addresses. All of them serve the same page, whose script shows the view of the address; a test opens
 * each. Other addresses are unaffected: the console uses none below `/api`, and unknown paths are a 404.
 */
const PAGES = [
  '/',
  '/containers/:id',
  '/new',
  '/snapshots',
  '/deleted',
  '/events',
  '/usage',
  '/tokens',
  '/webhooks',
  '/agents',
  '/admin/users',
  '/admin/containers',
  '/admin/snapshots',
  '/admin/templates',
  '/admin/images',
  '/admin/machine',
  '/admin/nodes',
  '/admin/webhooks',
  '/admin/audit',
];

/** Where `npm start` builds the console, relative to the project's folder. */
const FOLDER = 'apps/console/dist';

/**
 * Headers of a page that runs only this server's scripts and talks only to this server. xterm.js and CodeMirror need
 * inline styles. `blob:` is for what the page itself fetched: images and PDFs of containers, which inherit this policy.
 */
const PAGE_HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; " +
    "img-src 'self' data: blob:; frame-src blob:; " +
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  // The browser revalidates each time, mostly answered by a 304, so an update shows at the next visit.
  'cache-control': 'no-cache',
} as const;

/** An asset's name includes a hash of its contents, so it never changes. */
const ASSET_HEADERS = {
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'public, max-age=31536000, immutable',
} as const;

/**
 * Serves the console at `/`, unless the setting `CONSOLE` is `off`. If it was not built, its addresses are a 404.
 * Call it before `init()` or `listen()`.
 */
export function setUpConsole(app: NestFastifyApplication): void {
  if (app.get<Config>(CONFIG).CONSOLE === 'off') return;
  const fastify = app.getHttpAdapter().getInstance();
  const files = readConsole(FOLDER);
  const page = files.get('index.html');
  // Not counted as API requests: all files are small and in memory.
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
