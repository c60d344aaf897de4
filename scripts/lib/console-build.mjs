/** `apps/console/dist`: the console, built when a source of it was changed since the last build. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CommandFailed, run } from './command.mjs';
import { preparingAlone } from './preparation.mjs';
import { projectRoot } from './project.mjs';
import { isEnding } from './shutdown.mjs';
import { say, step } from './steps.mjs';

const folder = join(projectRoot, 'apps', 'console');
const entry = join(folder, 'dist', 'index.html');
const stampFile = join(folder, 'dist', '.berth-built');
/** The client's sources are built into it. */
const sources = [
  join(folder, 'src'),
  join(folder, 'public'),
  join(folder, 'index.html'),
  join(folder, 'vite.config.ts'),
  join(folder, 'package.json'),
  join(projectRoot, 'packages', 'client', 'src'),
  join(projectRoot, 'package-lock.json'),
];

function* filesBelow(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return;
  if (!stat.isDirectory()) yield `${path} ${stat.size} ${stat.mtimeMs}`;
  else for (const name of readdirSync(path).sort()) yield* filesBelow(join(path, name));
}

function sourcesStamp() {
  const hash = createHash('sha256');
  for (const source of sources) for (const line of filesBelow(source)) hash.update(`${line}\n`);
  return hash.digest('hex');
}

const isFresh = () => existsSync(entry) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === sourcesStamp();

async function runBuild({ onLine, onStart }) {
  const stamp = sourcesStamp();
  const vite = join(projectRoot, 'node_modules', 'vite', 'bin', 'vite.js');
  const env = { ...process.env, NODE_ENV: 'production' };
  await run(process.execPath, [vite, 'build', folder, '--logLevel', 'warn'], {
    cwd: projectRoot,
    env,
    onLine,
    onStart,
  });
  writeFileSync(stampFile, stamp);
}

/** Builds it if that is due. @throws CommandFailed with the bundler's output */
export async function buildConsole() {
  if (isFresh()) return;
  await preparingAlone(async (onStart) => {
    if (isFresh()) return;
    await step('building the console', (onLine) => runBuild({ onLine, onStart }));
  });
}

/** The same for a server that works without it: a failure is said, and the console is left out. */
export async function ensureConsole({ CONSOLE } = {}) {
  if (CONSOLE === 'off') return;
  try {
    await buildConsole();
  } catch (error) {
    if (isEnding()) throw error;
    say('! the console could not be built; the API works without it');
    if (error instanceof CommandFailed) say(error.output.trim());
  }
}
