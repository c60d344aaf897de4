import { Readable } from 'node:stream';
import Docker from 'dockerode';
import { removeFirewallRules } from './firewall';

/** Direct access to Docker, for changes behind Berth's back. */
export class RealDocker {
  /** @param id of the node in its Swarm; null for the only Docker */
  constructor(
    readonly docker = connect(),
    readonly id: string | null = null,
  ) {}

  /** Runs a command in a container and returns its output. */
  async exec(engineId: string, command: readonly string[], { user }: { user?: string } = {}): Promise<string> {
    const User = user === undefined ? {} : { User: user };
    const exec = await this.docker
      .getContainer(engineId)
      .exec({ Cmd: [...command], AttachStdout: true, AttachStderr: true, ...User });
    const stream = await exec.start({});
    const chunks: Buffer[] = [];
    const sink = { write: (chunk: Buffer) => chunks.push(chunk) };
    this.docker.modem.demuxStream(stream, sink as never, sink as never);
    await new Promise((resolve, reject) => stream.once('end', resolve).once('close', resolve).once('error', reject));
    return Buffer.concat(chunks).toString();
  }

  /** Writes a mark into the data volume that must survive. */
  async writeData(engineId: string, text: string): Promise<void> {
    await this.exec(engineId, ['sh', '-c', `echo ${text} > /home/user/mark && sync`]);
  }

  async readData(engineId: string): Promise<string> {
    return (await this.exec(engineId, ['cat', '/home/user/mark'])).trim();
  }

  async inspect(engineId: string): Promise<Docker.ContainerInspectInfo> {
    return this.docker.getContainer(engineId).inspect();
  }

  /** Every container with a label. */
  async containers(label: string): Promise<{ id: string; name: string; state: string }[]> {
    const listed = await this.docker.listContainers({ all: true, filters: { label: [label] } });
    return listed.map(({ Id, Names, State }) => ({ id: Id, name: (Names[0] ?? '').slice(1), state: State }));
  }

  /** The names of all volumes with a label. */
  async volumes(label: string): Promise<string[]> {
    const { Volumes } = await this.docker.listVolumes({ filters: { label: [label] } });
    return Volumes.map(({ Name }) => Name);
  }

  /** Every container of one row. */
  containersOf(containerId: string): Promise<{ id: string; name: string; state: string }[]> {
    return this.containers(`berth.container_id=${containerId}`);
  }

  /** The names of all volumes of one row. */
  volumesOf(containerId: string): Promise<string[]> {
    return this.volumes(`berth.container_id=${containerId}`);
  }

  async volumeExists(name: string): Promise<boolean> {
    const { Volumes } = await this.docker.listVolumes({ filters: { name: [name] } });
    return Volumes.some((volume) => volume.Name === name);
  }

  /** Creates an empty image, without even the files that a sandbox's main process needs. */
  async importEmptyImage(reference: string): Promise<void> {
    const [repo, tag] = reference.split(':');
    const emptyTar = Buffer.alloc(1024);
    const stream = await this.docker.importImage(Readable.from([emptyTar]), { repo, tag });
    await new Promise((resolve, reject) =>
      this.docker.modem.followProgress(stream, (error) => (error ? reject(error) : resolve(null))),
    );
  }

  /**
   * Creates an image from the test image by a script.
   *
   * @param changes in the syntax of a Dockerfile, such as `USER 1000`
   */
  async makeImage(reference: string, script: string, changes = ''): Promise<void> {
    const [repo, tag] = reference.split(':');
    const maker = await this.docker.createContainer({
      Image: process.env['TEST_IMAGE'] ?? 'berth/test:latest',
      Entrypoint: ['sh', '-c', script],
      HostConfig: { NetworkMode: 'none' },
    });
    try {
      await maker.start();
      await maker.wait();
      await maker.commit({ repo, tag, ...(changes !== '' && { changes }) });
    } finally {
      await maker.remove({ force: true });
    }
  }

  /** Creates an image with a `/bin/sh` that prints its own arguments for ever. */
  async makeImageWithFloodingShell(reference: string): Promise<void> {
    await this.makeImage(reference, 'rm /bin/sh && printf "#!/bin/yes\\n" > /bin/sh && chmod 755 /bin/sh');
  }

  /** Removes every object with an instance label of the tests, and the firewall rules of its network. */
  async removeInstance(instance: string): Promise<void> {
    await this.removeLabelled(instance);
    await removeFirewallRules(instance);
  }

  protected async removeLabelled(instance: string): Promise<void> {
    // The probe container of a killed server has a label of its own, and is on the same network.
    for (const label of ['berth.probe', 'berth.instance']) {
      const filters = { label: [`${label}=${instance}`] };
      for (const container of await this.docker.listContainers({ all: true, filters }))
        await removeByForce(this.docker, container);
      for (const { Name } of (await this.docker.listVolumes({ filters })).Volumes)
        await this.docker.getVolume(Name).remove();
      for (const { Id } of await this.docker.listNetworks({ filters })) await this.docker.getNetwork(Id).remove();
    }
  }
}

/** Docker 26.1 cannot kill a paused gVisor container: it answers 500 after 10 s. */
export async function removeByForce(docker: Docker, { Id, State }: Docker.ContainerInfo): Promise<void> {
  const container = docker.getContainer(Id);
  if (State === 'paused') await container.unpause();
  await container.remove({ force: true, v: true });
}

function connect(): Docker {
  const host = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock';
  if (host.startsWith('unix://')) return new Docker({ socketPath: host.slice('unix://'.length) });
  const { hostname, port } = new URL(host);
  return new Docker({ host: hostname, port: Number(port) });
}
