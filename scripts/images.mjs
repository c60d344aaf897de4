/**
 * `npm run images [-- --rebuild] [code]`: builds the images that Berth never pulls, in the Docker that `npm start`
 * uses: those of every installation, or the one that runs code. One that is there is kept, or replaced with
 * `--rebuild`, such as for Debian's updates: containers keep what they have.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readSettings } from './lib/environment-file.mjs';
import { findDocker } from './lib/find-docker.mjs';
import { OwnDaemon } from './lib/own-daemon.mjs';
import { Problem } from './lib/problem.mjs';
import { makeDataFolder, runFolder } from './lib/project.mjs';
import { takeRunLock } from './lib/run-lock.mjs';
import { buildImage, codeImage, minimalImage, sandboxImage } from './lib/sandbox-image.mjs';
import { atEnd, runScript } from './lib/shutdown.mjs';
import { say, step } from './lib/steps.mjs';
import { ensureSupervisor } from './lib/supervisor-build.mjs';

/** @returns {Promise<import('./lib/docker-api.mjs').DockerApi>} that of a running `npm start` too @throws Problem */
async function openDocker(settings) {
  const folder = join(runFolder, 'docker');
  const own = new OwnDaemon(folder);
  if (!settings.DOCKER_HOST && (await own.api.answers())) return own.api;
  await takeRunLock();
  const onStart = (daemon) =>
    atEnd('stopping the Docker daemon', (hurry) => step('stopping the Docker daemon', () => daemon.stop({ hurry })));
  return (await findDocker({ settings, folder, onStart })).api;
}

async function main() {
  const { values, positionals } = parseArgs({
    options: { rebuild: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const unknown = positionals.find((name) => name !== 'code');
  if (unknown !== undefined) throw new Problem(`There is no image "${unknown}" to build.`, ['Name code, or none.']);
  makeDataFolder();
  await ensureSupervisor();
  const api = await openDocker(readSettings());
  for (const name of positionals.length > 0 ? [codeImage] : [sandboxImage, minimalImage]) {
    if (!values.rebuild && (await api.hasImage(name))) say(`✓ ${name} is there`);
    else await buildImage(api, { name, isFresh: values.rebuild });
  }
  return 0;
}

void runScript(main);
