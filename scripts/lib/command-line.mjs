/** `npx berth`: the command line, built when a source of it was changed since, and linked where npx looks. */
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { CommandFailed, run } from './command.mjs';
import { preparingAlone } from './preparation.mjs';
import { projectRoot } from './project.mjs';
import { isEnding } from './shutdown.mjs';
import { say, step } from './steps.mjs';

const folder = join(projectRoot, 'packages', 'cli');
const program = join(folder, 'dist', 'berth.cjs');
/** npm links the programs of workspaces when it installs, and this one is not built by then. */
const link = join(projectRoot, 'node_modules', '.bin', 'berth');
/** The client's sources are built into it. */
const sources = [
  join(folder, 'src'),
  join(folder, 'scripts'),
  join(folder, 'package.json'),
  join(projectRoot, 'packages', 'client', 'src'),
  join(projectRoot, 'package-lock.json'),
];

function lastChange(path) {
  const stat = statSync(path);
  const below = stat.isDirectory() ? readdirSync(path).map((name) => lastChange(join(path, name))) : [];
  return Math.max(stat.mtimeMs, ...below);
}

const isFresh = () =>
  existsSync(link) && existsSync(program) && statSync(program).mtimeMs > Math.max(...sources.map(lastChange));

async function build({ onLine, onStart }) {
  await run(process.execPath, [join(folder, 'scripts', 'build.mjs')], { cwd: projectRoot, onLine, onStart });
  mkdirSync(dirname(link), { recursive: true });
  rmSync(link, { force: true });
  symlinkSync(relative(dirname(link), program), link);
}

/** A server works without it: a failure is said, and nothing else. */
export async function ensureCommandLine() {
  try {
    if (isFresh()) return;
    await preparingAlone(async (onStart) => {
      if (isFresh()) return;
      await step('building the command line', (onLine) => build({ onLine, onStart }));
    });
  } catch (error) {
    if (isEnding()) throw error;
    say('! the command line could not be built; the API works without it');
    if (error instanceof CommandFailed) say(error.output.trim());
  }
}
