/** `dist/`: built when a source was changed, added or removed since the last build. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findCommand, run } from './command.mjs';
import { preparingAlone } from './preparation.mjs';
import { projectRoot } from './project.mjs';
import { step } from './steps.mjs';

const stampFile = join(projectRoot, 'dist', '.berth-built');
const entry = join(projectRoot, 'dist', 'src', 'main.js');
const simulator = join('packages', 'simulator', 'src');
const isSource = (name) =>
  name === 'src' ||
  name === 'package-lock.json' ||
  /^(\.swcrc|ormconfig\.ts|nest-cli\.json|tsconfig.*\.json)$/.test(name);

function* filesBelow(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) yield `${path} ${stat.size} ${stat.mtimeMs}`;
  else for (const name of readdirSync(path).sort()) yield* filesBelow(join(path, name));
}

/** Of names, sizes and times, so that a removed file or an older one from another branch counts as a change too. */
function sourcesStamp() {
  const hash = createHash('sha256');
  for (const name of [...readdirSync(projectRoot).filter(isSource).sort(), simulator]) {
    for (const line of filesBelow(join(projectRoot, name))) hash.update(`${line}\n`);
  }
  return hash.digest('hex');
}

const isFresh = () => existsSync(entry) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === sourcesStamp();

async function runBuild({ onLine, onStart }) {
  // Taken before, so that a change during the build leads to another.
  const stamp = sourcesStamp();
  for (const script of ['build', 'build:simulator']) {
    await run(findCommand('npm'), ['run', '-s', script], { cwd: projectRoot, onLine, onStart });
  }
  writeFileSync(stampFile, stamp);
}

/** Builds in any case. @param {(line: string) => void} onLine @throws CommandFailed with the compiler's output */
export function build(onLine) {
  return preparingAlone((onStart) => runBuild({ onLine, onStart }));
}

/** @throws CommandFailed with the compiler's output */
export async function ensureBuild() {
  if (isFresh()) return;
  await preparingAlone(async (onStart) => {
    if (isFresh()) return;
    await step('building (npm run build)', (progress) => runBuild({ onLine: progress, onStart }));
  });
}
