/** `packages/supervisor/build/supervisor`: the first process of each sandbox, built when a source of it was changed. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensurePackages } from './apt.mjs';
import { findCommand, run } from './command.mjs';
import { preparingAlone } from './preparation.mjs';
import { projectRoot } from './project.mjs';
import { say, step } from './steps.mjs';

const folder = join(projectRoot, 'packages', 'supervisor');
export const supervisorFile = join(folder, 'build', 'supervisor');
const stampFile = `${supervisorFile}.built`;

/** By content, as a checkout gives every file a new time. */
function sourcesStamp() {
  const hash = createHash('sha256').update(process.arch);
  for (const name of readdirSync(folder).sort()) {
    if (/\.go$|^go\.mod$/.test(name) && !name.endsWith('_test.go')) {
      hash.update(`${name}\n`).update(readFileSync(join(folder, name)));
    }
  }
  return hash.digest('hex');
}

const isFresh = (stamp) =>
  existsSync(supervisorFile) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp;

/** Go's settings, whatever the user's are. */
const goEnvironment = () => ({
  ...process.env,
  CGO_ENABLED: '0',
  GOFLAGS: '',
  GOTOOLCHAIN: 'local',
  GOPROXY: 'off',
});

const ensureGo = () => ensurePackages({ 'golang-go': () => findCommand('go') !== undefined });

/** The program's own checks and tests. @throws Problem without Go, CommandFailed */
export async function testSupervisor({ onLine, niceness }) {
  await preparingAlone(ensureGo);
  const options = { cwd: folder, env: goEnvironment(), onLine, niceness };
  await run('go', ['vet', './...'], options);
  await run('go', ['test', './...'], options);
}

/** Builds the program if it is missing or older than its sources. @throws Problem without Go */
export async function ensureSupervisor() {
  if (isFresh(sourcesStamp())) return;
  await preparingAlone(async () => {
    const stamp = sourcesStamp();
    if (isFresh(stamp)) return;
    await ensureGo();
    mkdirSync(join(folder, 'build'), { recursive: true });
    await step('building the supervisor of sandboxes', async (progress) => {
      const made = `${supervisorFile}.${process.pid}`;
      // The same sources make the same bytes, on which machine and in which folder ever.
      const linking = `-s -w -buildid= -X main.version=${stamp.slice(0, 12)}`;
      await run('go', ['build', '-trimpath', '-buildvcs=false', '-ldflags', linking, '-o', made, '.'], {
        cwd: folder,
        env: goEnvironment(),
        onLine: progress,
      });
      renameSync(made, supervisorFile);
    });
    writeFileSync(stampFile, stamp);
    say('✓ the supervisor is built');
  });
}
