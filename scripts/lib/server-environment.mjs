/** What a server process gets to see: the person's settings, what they left open, and the Docker that was found. */
import { join, relative } from 'node:path';
import { defaultsFor } from './environment-file.mjs';
import { Problem } from './problem.mjs';
import { projectRoot, runFolder } from './project.mjs';
import { say } from './steps.mjs';

/** @param {{ settings: object, docker: { api: object, hasGvisor: boolean } }} options */
export function serverEnvironment({ settings, docker }) {
  const env = { ...process.env, ...defaultsFor(settings), DOCKER_HOST: docker.api.host };
  // A registered gVisor that does not work must not be picked by "auto"; production gets no such help.
  const isOpenChoice = (settings.SANDBOX_RUNTIME ?? 'auto') === 'auto' && settings.NODE_ENV !== 'production';
  if (!docker.hasGvisor && isOpenChoice) {
    env.SANDBOX_RUNTIME = 'runc';
    say('! containers will run under runc, WITHOUT gVisor: run nothing in them that you do not trust');
  }
  return env;
}

/**
 * The same without Docker. A database of its own: the rows of one are of no use with the containers of the other.
 * @param {object} settings @throws Problem in production
 */
export function simulatedEnvironment(settings) {
  if (settings.NODE_ENV === 'production') {
    throw new Problem('Containers are not simulated in production.', ['Leave out --simulate, or NODE_ENV=production.']);
  }
  const sqlite = `sqlite:${relative(projectRoot, join(runFolder, 'simulated.sqlite'))}`;
  say('! containers are only SIMULATED: nothing runs in them');
  return {
    ...process.env,
    ...defaultsFor(settings),
    DATABASE_URL: settings.DATABASE_URL ?? sqlite,
    ENGINE: 'simulated',
  };
}
