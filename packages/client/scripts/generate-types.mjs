/** `npm run -s openapi` of the project's root calls it: src/api-types.ts from docs/openapi.json. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createClient } from '@hey-api/openapi-ts';

const packageFolder = new URL('..', import.meta.url);
const documentFile = fileURLToPath(new URL('../../docs/openapi.json', packageFolder));
const typesFile = fileURLToPath(new URL('src/api-types.ts', packageFolder));

/** @returns {Promise<string>} what src/api-types.ts must be */
async function generateTypes() {
  const { openapi, info, components } = JSON.parse(await readFile(documentFile, 'utf8'));
  const output = await mkdtemp(join(tmpdir(), 'berth-client-types-'));
  try {
    await createClient({
      // Schemas alone: the client's own methods are the types of the routes.
      input: { openapi, info, paths: {}, components: { schemas: components.schemas } },
      output: { path: output, entryFile: false },
      plugins: ['@hey-api/typescript'],
      logs: { level: 'silent' },
    });
    return await readFile(join(output, 'types.gen.ts'), 'utf8');
  } finally {
    await rm(output, { recursive: true });
  }
}

const types = await generateTypes();
if (process.argv.includes('--check')) {
  const isSame = (await readFile(typesFile, 'utf8')) === types;
  if (!isSame) console.error('packages/client/src/api-types.ts is not what docs/openapi.json says: npm run -s openapi');
  process.exitCode = isSame ? 0 : 1;
} else {
  await writeFile(typesFile, types);
}
