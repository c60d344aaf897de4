/** One file with all that it needs, which begins at once: `node scripts/build.mjs [FILE]`, dist/berth.cjs if absent. */
import { chmod, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

const { version } = JSON.parse(await readFile(here('package.json'), 'utf8'));

const outfile = process.argv[2] ?? here('dist/berth.cjs');

await build({
  entryPoints: [here('src/main.ts')],
  outfile,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  // The client as it is now, built or not.
  conditions: ['berth-source', 'node', 'import'],
  // Native parts of `ws` that it does without.
  external: ['bufferutil', 'utf-8-validate'],
  define: { VERSION: JSON.stringify(version) },
  banner: { js: '#!/usr/bin/env node' },
  logLevel: 'warning',
});
await chmod(outfile, 0o755);
