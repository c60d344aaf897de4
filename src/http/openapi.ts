import { NestFastifyApplication } from '@nestjs/platform-fastify';
import {
  ApiProperty,
  ApiPropertyOptional,
  DocumentBuilder,
  getSchemaPath,
  OpenAPIObject,
  SwaggerModule,
} from '@nestjs/swagger';

class ErrorDetail {
  @ApiProperty({ example: 'memory_mb', description: 'The path of the field.' })
  readonly field: string;
  @ApiProperty({ example: 'must be a whole number from 256 to 2048 on the tier "free"' })
  readonly message: string;
  @ApiPropertyOptional({ example: 256 })
  readonly min?: number;
  @ApiPropertyOptional({ example: 2048 })
  readonly max?: number;
  @ApiPropertyOptional({ example: 'free' })
  readonly tier?: string;
}

/** Every error, of every route. */
export class ErrorResponse {
  @ApiProperty({ example: 'invalid parameters', description: 'A stable sentence.' })
  readonly error: string;
  @ApiProperty({ example: 'invalid_parameters', description: 'The machine word for it.' })
  readonly code: string;
  @ApiProperty({ example: '0b7e5c1a-2f64-4d0e-9a35-6b1f0c2d3e4f', description: 'Also in the header x-request-id.' })
  readonly request_id: string;
  @ApiPropertyOptional({ type: [ErrorDetail], description: 'With invalid parameters: an entry for each field.' })
  readonly details?: ErrorDetail[];
}

type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;

const DESCRIPTION = `
Containers of your own: create, start, stop, update and delete them, and watch what happens to them.

**Events.** Everything that happens to a container is emitted over Socket.IO, at this server's own address and in the default namespace:
\`io(url, { auth: { token, after } })\`, with a token that may \`read\`. Another one is refused by a \`connect_error\`, such as
\`unauthorized\`. An event is sent under its type's name, with one argument \`{ type, seq, timestamp, data }\`, where \`data\` holds
the container's \`id\`, \`db_id\`, \`name\`, \`status\`, \`image\`, \`role\` and \`resources\`. The types are \`container_created\`,
\`container_started\`, \`container_stopped\`, \`container_deleted\`, \`container_updated\`, \`container_progress\` (with \`stage\`,
\`message\` and \`progress\` from 0 to 100) and \`container_error\` (with \`reason\` and \`message\`). \`seq\` grows by one with each of
the user's events. To miss none, give as \`after\` the \`event_seq\` of \`GET /api/containers\`, or the last \`seq\` that came: what
happened since is replayed first, in order. Where that is no longer kept, \`resync_required\` (\`{ type, event_seq }\`) is sent
instead: list the containers again; later events follow. The same events come as Server-Sent Events (\`GET /api/events/stream\`) and
in pages (\`GET /api/events\`).
`.trim();

const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;

/**
 * Serves the description of the API and a page to try it on. Made when first asked for, so it costs nothing at start.
 */
export function setUpOpenApi(app: NestFastifyApplication): void {
  SwaggerModule.setup('api/docs', app, () => createOpenApiDocument(app), {
    jsonDocumentUrl: 'api/openapi.json',
    raw: ['json'],
    customSiteTitle: 'Berth API',
    swaggerOptions: { persistAuthorization: false },
  });
}

/** The OpenAPI document of every route that the application has. */
function createOpenApiDocument(app: NestFastifyApplication): OpenAPIObject {
  const info = new DocumentBuilder()
    .setTitle('Berth')
    .setDescription(DESCRIPTION)
    .setVersion('1')
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'A Berth token: berth_ and 64 hex.' })
    .build();
  const document = SwaggerModule.createDocument(app, info, {
    extraModels: [ErrorResponse],
    operationIdFactory: operationId,
  });
  document.components = { ...document.components, responses: COMMON };
  for (const operation of operationsOf(document)) documentErrors(operation);
  return document;
}

/**
 * Such as `containers_list`: unique, as clients that are generated need it. The further paths of a method are numbered.
 */
function operationId(controller: string, method: string): string {
  const resource = controller.replace(/Controller$/, '').toLowerCase();
  return `${resource}_${method.replace('[0]', '').replace(/\[(\d+)\]$/, '_$1')}`;
}

function operationsOf(document: OpenAPIObject): Operation[] {
  return Object.values(document.paths).flatMap((path) =>
    METHODS.map((method) => path[method]).filter((operation) => operation !== undefined),
  );
}

const seconds = (description: string) => ({ description, schema: { type: 'integer' as const } });

const LIMITED = {
  'Retry-After': seconds('Seconds.'),
  'RateLimit-Limit': seconds('Requests in each window. On every other answer too, as the two below.'),
  'RateLimit-Remaining': seconds('Requests left in this window.'),
  'RateLimit-Reset': seconds('Seconds until the next window.'),
};

const answer = (description: string) => ({
  description,
  content: { 'application/json': { schema: { $ref: getSchemaPath(ErrorResponse) } } },
});

/** Errors that any route may answer with: documented once, and referenced. */
const COMMON = {
  BodyTooLarge: answer('request body too large: more than 64 KiB.'),
  UnsupportedMediaType: answer('unsupported media type: a body is JSON.'),
  ExpectationFailed: answer('expectation failed: of the header Expect, 100-continue alone is understood.'),
  Unavailable: {
    ...answer(
      'database is busy, database is read-only, storage is full, server is shutting down: nothing was done. Try again later.',
    ),
    headers: { 'Retry-After': seconds('Where the database is busy.') },
  },
  HeadersTooLarge: answer('request header fields too large: more than 16 KiB.'),
};

const common = (name: keyof typeof COMMON) => ({ $ref: `#/components/responses/${name}` });

/** Every error has one shape, so it is documented once and not at each route. */
function documentErrors(operation: Operation): void {
  operation.responses['400'] ??= answer(
    operation.requestBody
      ? 'invalid parameters: details says which.'
      : 'invalid parameters: details says which. A body that is not empty is one, as the route takes none.',
  );
  operation.responses['413'] ??= common('BodyTooLarge');
  if (operation.requestBody) operation.responses['415'] ??= common('UnsupportedMediaType');
  operation.responses['417'] ??= common('ExpectationFailed');
  operation.responses['431'] ??= common('HeadersTooLarge');
  operation.responses['503'] ??= common('Unavailable');
  if (operation.security) {
    operation.responses['401'] ??= answer('The token is missing, unknown, revoked or expired.');
    operation.responses['403'] ??= answer('The token may not do this.');
    operation.responses['429'] ??= {
      ...answer('Too many requests; Retry-After says in how many seconds to try again.'),
      headers: LIMITED,
    };
  }
  operation.responses['default'] ??= answer('Anything else that went wrong.');
}
