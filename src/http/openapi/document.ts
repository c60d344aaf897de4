import { NestFastifyApplication } from '@nestjs/platform-fastify';
import { DocumentBuilder, OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import type { FastifyInstance } from 'fastify';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { ErrorResponse } from '../../errors';
import { refuseQuery } from '../known-query';
import { sendStored, type StoredFile, storedFile } from '../stored-file';
import { documentAnswers, documentExamples } from './answers';
import { type AsyncChannel, createAsyncApiDocument } from './async-document';
import { describeInputs } from './inputs';
import { describeDefaults, nameTitled, toJsonSchema } from './json-schema';
import { operationsOf } from './schemas';

const DESCRIPTION = `
Create, start, stop, update and delete sandbox containers, and follow what happens to them.

**Events.** All changes of containers are emitted over Socket.IO, at this server's address and in the default namespace:
\`io(url, { auth: { token, after } })\`, with a token that has the scope \`read\`. A refused connection gets a \`connect_error\`, such
as \`unauthorized\`. Each event is sent under the name of its type, with one argument: see the \`Event\` schemas. \`seq\` increases by one
with each event of the user. To miss no event, pass as \`after\` the \`event_seq\` of \`GET /api/containers\`, or the last \`seq\`
received: later events are replayed first, in order. If they are no longer stored, \`resync_required\` (\`{ type, event_seq }\`) is
sent instead: list the containers again; later events follow. The same events are available as Server-Sent Events
(\`GET /api/events/stream\`) and in pages (\`GET /api/events\`).

**Server-Sent Events.** The \`contentSchema\` of a \`text/event-stream\` describes each event by its name; \`data\` is JSON.

**Errors.** An unknown path is answered with 404 \`route_not_found\`, an unsupported method with 405 \`method_not_allowed\` and
\`Allow\`. \`HEAD\` is supported wherever \`GET\` is.
`.trim();

/** In the order of the documentation page. */
const TAGS = {
  containers: 'Create, list, update, start, stop, delete and restore containers.',
  'inside containers': 'Commands, processes, terminals, files and statistics. Requires the scope exec.',
  ssh: 'Access for OpenSSH clients and editors: keys and the server address.',
  events: 'List and stream events.',
  agents: 'Agents on your own machines.',
  webhooks: 'Send signed events to your URLs.',
  images: 'Images for containers.',
  roles: 'Software to install in containers.',
  tiers: 'Limits of users.',
  me: 'The current user and their usage.',
  tokens: 'Access tokens for the CLI and API.',
  auth: 'Login without an account.',
  audit: 'A record of actions and their users.',
  admin: 'Administration. Requires the scope admin.',
  health: 'Health checks and metrics.',
} as const;

/** Paths without rate limit headers: see `rate-limits`. */
const UNLIMITED = /^\/(health\/|metrics$)/;

/**
 * Serves the OpenAPI and AsyncAPI documents, and a page to try the API. The documents are built at the first request,
 * so they cost nothing at start.
 */
export function setUpDocuments(app: NestFastifyApplication, channels: readonly AsyncChannel[]): void {
  let openapi: OpenAPIObject | undefined;
  const openApiDocument = (): OpenAPIObject => (openapi ??= createOpenApiDocument(app));
  SwaggerModule.setup('api/docs', app, openApiDocument, {
    raw: false,
    customSiteTitle: 'Berth API',
    swaggerOptions: { persistAuthorization: false },
  });
  const fastify = app.getHttpAdapter().getInstance();
  const asJson = (document: object): Buffer => Buffer.from(JSON.stringify(document));
  serveStored(fastify, '/api/openapi.json', { type: JSON_TYPE, read: () => asJson(openApiDocument()) });
  serveStored(fastify, '/api/asyncapi.json', {
    type: JSON_TYPE,
    read: () => asJson(createAsyncApiDocument(openApiDocument(), channels)),
  });
  for (const [name, type] of Object.entries(PAGE_FILES)) {
    serveStored(fastify, `/api/docs/${name}`, { type, read: () => readFileSync(join(PAGE_FOLDER, name)) });
  }
}

const JSON_TYPE = 'application/json; charset=utf-8';

/** Static files of the documentation page, kept in memory: a request opens no file. */
const PAGE_FILES = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  'swagger-ui-standalone-preset.js': 'text/javascript; charset=utf-8',
  'favicon-16x16.png': 'image/png',
  'favicon-32x32.png': 'image/png',
} as const;
const PAGE_FOLDER = dirname(createRequire(require.resolve('@nestjs/swagger')).resolve('swagger-ui-dist/package.json'));

/** Clients revalidate each time, mostly answered by a 304, so an update takes effect at once. */
const REVALIDATED = { 'cache-control': 'public, no-cache' } as const;

/** Serves a file that is built and compressed at its first request. */
function serveStored(
  fastify: FastifyInstance,
  url: string,
  { type, read }: { readonly type: string; readonly read: () => Buffer },
): void {
  let file: StoredFile | undefined;
  let making: Promise<StoredFile> | undefined;
  fastify.get(url, (request, reply) => {
    refuseQuery(request);
    const answer = { request, reply, headers: REVALIDATED };
    if (file) return sendStored(file, answer);
    making ??= storedFile(type, read());
    return making.then((made) => sendStored((file = made), answer));
  });
}

/** Creates the OpenAPI document of all routes. It is deterministic: the same code gives the same document. */
export function createOpenApiDocument(app: NestFastifyApplication): OpenAPIObject {
  const bodies = describeInputs(app);
  const document = SwaggerModule.createDocument(app, documentHead(), {
    extraModels: [ErrorResponse],
    operationIdFactory: operationId,
  });
  for (const { operation } of operationsOf(document)) operation.security ??= [];
  for (const name of bodies) Object.assign(document.components?.schemas?.[name] ?? {}, { additionalProperties: false });
  documentAnswers(document, (path) => !UNLIMITED.test(path));
  toJsonSchema(document);
  nameTitled(document);
  documentExamples(document);
  describeDefaults(document);
  return document;
}

function documentHead(): Omit<OpenAPIObject, 'paths'> {
  const builder = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('Berth')
    .setDescription(DESCRIPTION)
    .setVersion('1')
    .addServer('/', 'This server.')
    .addSecurity('bearer', { type: 'http', scheme: 'bearer', description: 'A Berth token: berth_ and 64 hex digits.' });
  for (const [name, description] of Object.entries(TAGS)) builder.addTag(name, description);
  const head = builder.build();
  Object.assign(head.info, { license: { name: 'Proprietary', identifier: 'LicenseRef-Proprietary' } });
  return head;
}

/**
 * An operation id such as `containers_list`. Generators need unique ids, so the further paths of a method are
 * numbered.
 */
function operationId(controller: string, method: string): string {
  const resource = controller.replace(/Controller$/, '').toLowerCase();
  return `${resource}_${method.replace('[0]', '').replace(/\[(\d+)\]$/, '_$1')}`;
}
