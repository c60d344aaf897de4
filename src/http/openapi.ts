import { NestFastifyApplication } from '@nestjs/platform-fastify';
import { DocumentBuilder, getSchemaPath, OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { ErrorResponse } from './error-response.dto';

type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;

const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;

/** Serves the description of the API and a page to try it on. Made when first asked for, so it costs nothing at start. */
export function setUpOpenApi(app: NestFastifyApplication): void {
  SwaggerModule.setup('api/docs', app, () => createOpenApiDocument(app), {
    jsonDocumentUrl: 'api/openapi.json',
    raw: ['json'],
    customSiteTitle: 'Berth API',
    swaggerOptions: { persistAuthorization: false },
  });
}

/** The OpenAPI document of every route that the application has. */
export function createOpenApiDocument(app: NestFastifyApplication): OpenAPIObject {
  const info = new DocumentBuilder()
    .setTitle('Berth')
    .setDescription(
      'Containers of your own: create, start, stop, update and delete them, and watch what happens to them.',
    )
    .setVersion('1')
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'A Berth token: berth_ and 64 hex.' })
    .build();
  const document = SwaggerModule.createDocument(app, info, {
    extraModels: [ErrorResponse],
    operationIdFactory: (_controller, method) => method,
  });
  for (const operation of operationsOf(document)) documentErrors(operation);
  return document;
}

function operationsOf(document: OpenAPIObject): Operation[] {
  return Object.values(document.paths).flatMap((path) =>
    METHODS.map((method) => path[method]).filter((operation) => operation !== undefined),
  );
}

/** Every error has one shape, so it is documented once and not at each route. */
function documentErrors(operation: Operation): void {
  const answer = (description: string) => ({
    description,
    content: { 'application/json': { schema: { $ref: getSchemaPath(ErrorResponse) } } },
  });
  if (operation.security) {
    operation.responses['401'] ??= answer('The token is missing, unknown, revoked or expired.');
    operation.responses['403'] ??= answer('The token may not do this.');
  }
  operation.responses['default'] ??= answer('Anything else that went wrong.');
}
