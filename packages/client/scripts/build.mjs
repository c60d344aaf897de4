/** ES modules and CommonJS, each with its types: `node scripts/build.mjs [FOLDER]`, dist if absent. */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('..', import.meta.url));
const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const folder = resolve(process.argv[2] ?? join(here, 'dist'));

const compile = (project, outDir) =>
  execFileSync(process.execPath, [compiler, '-p', join(here, project), '--outDir', outDir], { stdio: 'inherit' });

rmSync(folder, { recursive: true, force: true });
compile('tsconfig.build.json', folder);
compile('tsconfig.cjs.json', join(folder, 'cjs'));
// The package itself is one of ES modules.
writeFileSync(join(folder, 'cjs', 'package.json'), '{ "type": "commonjs" }\n');
