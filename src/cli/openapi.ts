import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig } from '../config';

/**
 * Writes the OpenAPI and AsyncAPI documents into a folder: `node dist/src/cli/openapi.js [FOLDER]`. Needs no database
 * and no Docker, since Nest's preview mode creates only the routes.
 */
async function main(folder = 'docs'): Promise<void> {
  const config = parseConfig({ DATABASE_URL: 'sqlite::memory:', LOG_LEVEL: 'silent' });
  // Imported late: the entities read the environment when they are imported.
  const { AppModule } = await import('../app.module.js');
  const { CHANNELS } = await import('../channels.js');
  const { createAsyncApiDocument, createHttpAdapter, createOpenApiDocument, prefixRoutes } =
    await import('../http/index.js');
  const app = await NestFactory.create<NestFastifyApplication>(AppModule.forRoot(config), createHttpAdapter(config), {
    preview: true,
    abortOnError: false,
    logger: false,
  });
  prefixRoutes(app);
  const openapi = createOpenApiDocument(app);
  const write = (file: string, document: object): void =>
    writeFileSync(join(folder, file), `${JSON.stringify(document, null, 2)}\n`);
  write('openapi.json', openapi);
  write('asyncapi.json', createAsyncApiDocument(openapi, CHANNELS));
}

void main(process.argv[2]);
