import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { writeFileSync } from 'node:fs';
import { parseConfig } from '../config';

/**
 * Writes the OpenAPI document of the code into a file: `node dist/src/cli/openapi.js [FILE]`. Needs no database and no
 * Docker, since nothing of the application is made but its routes.
 */
async function main(file = 'docs/openapi.json'): Promise<void> {
  const config = parseConfig({ DATABASE_URL: 'sqlite::memory:', LOG_LEVEL: 'silent' });
  // Only now: the entities read the environment when they are imported.
  const { AppModule } = await import('../app.module.js');
  const { createHttpAdapter, createOpenApiDocument, prefixRoutes } = await import('../http/index.js');
  const app = await NestFactory.create<NestFastifyApplication>(AppModule.forRoot(config), createHttpAdapter(config), {
    preview: true,
    abortOnError: false,
    logger: false,
  });
  prefixRoutes(app);
  writeFileSync(file, `${JSON.stringify(createOpenApiDocument(app), null, 2)}\n`);
}

void main(process.argv[2]);
