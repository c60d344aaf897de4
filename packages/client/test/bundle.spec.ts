import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const MOST_BYTES = 25 * 1024;

it('the client must be 25 KB at most in a page, compressed, with what it depends on', async () => {
  const { outputFiles } = await build({
    entryPoints: ['packages/client/src/index.ts'],
    bundle: true,
    minify: true,
    format: 'esm',
    // Fails where something of Node.js is imported.
    platform: 'browser',
    target: 'es2023',
    write: false,
  });
  expect(gzipSync(outputFiles[0]?.contents ?? '').length).toBeLessThanOrEqual(MOST_BYTES);
});
