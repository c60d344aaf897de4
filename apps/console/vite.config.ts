import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { defaultClientConditions, defineConfig, type Plugin } from 'vite';

/**
 * Puts each text beside itself compressed, as well as it goes: the server sends these as they are. When all is written,
 * as Vite puts its last hand to the scripts after all plugins.
 */
function compressed(): Plugin {
  return {
    name: 'compressed',
    writeBundle({ dir = 'dist' }, bundle) {
      for (const name of [...Object.keys(bundle), 'favicon.svg']) {
        if (!/\.(html|js|css|svg)$/.test(name)) continue;
        const source = readFileSync(join(dir, name));
        writeFileSync(join(dir, `${name}.gz`), gzipSync(source, { level: 9 }));
        writeFileSync(
          join(dir, `${name}.br`),
          brotliCompressSync(source, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }),
        );
      }
    },
  };
}

export default defineConfig({
  plugins: [compressed()],
  // The client's own sources, so that nothing has to be built before the console.
  resolve: { conditions: ['berth-source', ...defaultClientConditions] },
  build: {
    target: 'es2022',
    // Nothing inlined: a Content-Security-Policy without `data:` for scripts and fonts holds.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        // The editor of texts and its languages are told from what is needed before: a test adds up the sizes.
        chunkFileNames: ({ name, moduleIds }) =>
          moduleIds.some((id) => /node_modules\/(@codemirror|@lezer)\//.test(id)) && !name.startsWith('code-')
            ? 'assets/code-[name]-[hash].js'
            : 'assets/[name]-[hash].js',
      },
    },
  },
  // `npx vite apps/console` beside a server that runs, for those who work on the console.
  server: {
    proxy: {
      '/api': 'http://127.0.0.1:8080',
      '/health': 'http://127.0.0.1:8080',
      '/socket.io': { target: 'http://127.0.0.1:8080', ws: true },
    },
  },
});
