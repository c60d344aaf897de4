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
Containers of your own: create, start, stop, update and delete them, and watch what happens to them.

**Events.** Everything that happens to a container is emitted over Socket.IO, at this server's own address and in the default namespace:
\`io(url, { auth: { token, after } })\`, with a token that may \`read\`. Another one is refused by a \`connect_error\`, such as
\`unauthorized\`. An event is sent under its type's name, with one argument, an \`Event\` of the schemas. \`seq\` grows by one with each of
the user's events. To miss none, give as \`after\` the \`event_seq\` of \`GET /api/containers\`, or the last \`seq\` that came: what
happened since is replayed first, in order. Where that is no longer kept, \`resync_required\` (\`{ type, event_seq }\`) is sent
instead: list the containers again; later events follow. The same events come as Server-Sent Events (\`GET /api/events/stream\`) and
in pages (\`GET /api/events\`).

**Server-Sent Events.** The \`contentSchema\` of a \`text/event-stream\` has each event by its name; \`data\` is JSON.

**Errors.** A path that does not exist is a 404 \`route_not_found\`, a method that a path does not have a 405 \`method_not_allowed\` with
\`Allow\`. \`HEAD\` is answered wherever \`GET\` is.
`.trim();

/** In the order of the documentation page. */
const TAGS = {
  containers: 'The life of a container: from its creation to its end, and back.',
  'inside containers': 'Commands, processes, terminals, files and statistics, with the scope exec.',
  ssh: 'The way in for the programs of OpenSSH and for editors: keys, and where the server is.',
  events: 'What has happened, in pages and as it happens.',
  agents: "A user's own machines.",
  webhooks: 'Where events are sent, signed, as they happen.',
  images: 'What containers can be made of.',
  roles: 'What can be installed in containers.',
  tiers: 'What users may have.',
  me: 'The caller, and what their containers used.',
  tokens: "A user's own tokens.",
  auth: 'The way in without an account.',
  audit: 'What was done, by whom.',
  admin: 'For operators, with the scope admin.',
  health: 'For probes and collectors.',
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
    .addServer('/', 'The server that has this document.')
    .addSecurity('bearer', { type: 'http', scheme: 'bearer', description: 'A Berth token: berth_ and 64 hex.' });
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
