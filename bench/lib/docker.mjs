/** Docker without Berth: the limit that Berth's own figures are held against. */
import { randomUUID } from 'node:crypto';
import Docker from 'dockerode';

/** @param {string} host `unix:///PATH` */
export function connect(host) {
  return new Docker({ socketPath: new URL(host).pathname });
}

/** By these the tests' clean-up finds containers and volumes. */
const Labels = { 'berth.managed': 'true', 'berth.instance': `test-bench-docker-${process.pid}` };

/** @param {Docker} docker @returns {Promise<string>} the name of a new volume that no instance owns */
export async function newVolume(docker) {
  const Name = `berth-bench-${randomUUID()}`;
  await docker.createVolume({ Name, Driver: 'local', Labels });
  return Name;
}

/**
 * Makes containers like one of Berth's, that no instance owns.
 *
 * @param {Docker} docker
 * @param {string} engineId the one of Berth's
 * @returns {Promise<(options?: { volume?: string }) => Promise<Docker.Container>>} makes one, which is not started, on
 *   that volume or on one of its own; the volume outlives it
 */
export async function likenessesOf(docker, engineId) {
  const { Config, HostConfig } = await docker.getContainer(engineId).inspect();
  const { Image, Entrypoint, Cmd, User, WorkingDir, Env, StopSignal, Healthcheck } = Config;
  return ({ volume = `berth-bench-${randomUUID()}` } = {}) => {
    // The supervisor's volume is one for all containers.
    const Mounts = HostConfig.Mounts.map((mount) =>
      mount.ReadOnly ? mount : { ...mount, Source: volume, VolumeOptions: { Labels } },
    );
    return docker.createContainer({
      Image,
      Entrypoint,
      Cmd,
      User,
      WorkingDir,
      Env,
      StopSignal,
      Healthcheck,
      Labels,
      HostConfig: { ...HostConfig, Mounts },
    });
  };
}
