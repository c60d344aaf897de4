/** The Docker that servers put sandboxes into: found or started, with the sandbox image, and its gVisor tried. */
import { join } from 'node:path';
import { findDocker } from './find-docker.mjs';
import { checkGvisor } from './gvisor.mjs';
import { runFolder } from './project.mjs';
import { ensureSandboxImages, sandboxImage } from './sandbox-image.mjs';
import { atEnd } from './shutdown.mjs';
import { say, step } from './steps.mjs';

/**
 * @returns {Promise<{ api: import('./docker-api.mjs').DockerApi, own?: object, hasGvisor: boolean }>} @throws Problem
 */
export async function prepareDocker(settings) {
  const docker = await findDocker({
    settings,
    folder: join(runFolder, 'docker'),
    onStart: (own) =>
      atEnd('stopping the Docker daemon', (hurry) => step('stopping the Docker daemon', () => own.stop({ hurry }))),
  });
  await ensureSandboxImages(docker.api);
  return { ...docker, hasGvisor: await checkGvisor(docker, { image: sandboxImage }) };
}

/** Says so when the own daemon ends by itself. @param {string} command what starts it again */
export function watchDocker({ own }, command) {
  own?.onUnexpectedEnd((problem) => {
    say(`✗ ${problem.message}`);
    for (const line of problem.advice.slice(0, -2)) say(`  ${line}`);
    say(`  Restart with \`${command}\`; until then the API answers \`docker_unavailable\`.`);
  });
}
