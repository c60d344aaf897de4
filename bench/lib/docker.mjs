/** Docker without Berth: the limit that Berth's own figures are held against. */
import Docker from 'dockerode';

/** @param {string} host `unix:///PATH` */
export function connect(host) {
  return new Docker({ socketPath: new URL(host).pathname });
}

/** @returns {Promise<object>} a create body that makes a container like this one, but nobody's */
export async function bodyLike(docker, dockerId) {
  const { Config, HostConfig } = await docker.getContainer(dockerId).inspect();
  const { Image, Entrypoint, Cmd, WorkingDir, Env, StopSignal, Healthcheck } = Config;
  // Volumes of its own, and labels by which the tests' clean-up finds it.
  const Labels = { 'berth.managed': 'true', 'berth.instance': `test-bench-docker-${process.pid}` };
  const Mounts = HostConfig.Mounts.map(({ Type, Target }) => ({ Type, Target }));
  return {
    ...{ Image, Entrypoint, Cmd, WorkingDir, Env, StopSignal, Healthcheck, Labels },
    HostConfig: { ...HostConfig, Mounts },
  };
}
