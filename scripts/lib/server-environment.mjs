/** What a server process gets to see: the person's settings, what they left open, and the Docker that was found. */
import { defaultsFor } from './environment-file.mjs';
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
