import { Readable } from 'node:stream';
import Docker from 'dockerode';
import { removeFirewallRules } from './firewall';

/** Docker as somebody else on the same machine uses it: behind Berth's back. */
export class RealDocker {
  /** @param id of the node in its Swarm; null: the only Docker that there is */
  constructor(
    readonly docker = connect(),
    readonly id: string | null = null,
  ) {}

  /** Runs a command in a container and returns what it printed. */
  async exec(dockerId: string, command: readonly string[], { user }: { user?: string } = {}): Promise<string> {
    const User = user === undefined ? {} : { User: user };
    const exec = await this.docker
      .getContainer(dockerId)
      .exec({ Cmd: [...command], AttachStdout: true, AttachStderr: true, ...User });
    const stream = await exec.start({});
    const chunks: Buffer[] = [];
    const sink = { write: (chunk: Buffer) => chunks.push(chunk) };
    this.docker.modem.demuxStream(stream, sink as never, sink as never);
    await new Promise((resolve, reject) => stream.once('end', resolve).once('close', resolve).once('error', reject));
    return Buffer.concat(chunks).toString();
  }

  /** Leaves a mark in the data volume that must survive. */
  async writeData(dockerId: string, text: string): Promise<void> {
    await this.exec(dockerId, ['sh', '-c', `echo ${text} > /home/user/mark && sync`]);
  }

  async readData(dockerId: string): Promise<string> {
    return (await this.exec(dockerId, ['cat', '/home/user/mark'])).trim();
  }

  async inspect(dockerId: string): Promise<Docker.ContainerInspectInfo> {
    return this.docker.getContainer(dockerId).inspect();
  }

  /** Every container under a label, as `name state`. */
  async containers(label: string): Promise<{ id: string; name: string; state: string }[]> {
    const listed = await this.docker.listContainers({ all: true, filters: { label: [label] } });
    return listed.map(({ Id, Names, State }) => ({ id: Id, name: (Names[0] ?? '').slice(1), state: State }));
  }

  /** The names of all volumes under a label. */
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

  /** An image with nothing in it, not even what a sandbox's main process needs. */
  async importEmptyImage(reference: string): Promise<void> {
    const [repo, tag] = reference.split(':');
    const emptyTar = Buffer.alloc(1024);
    const stream = await this.docker.importImage(Readable.from([emptyTar]), { repo, tag });
    await new Promise((resolve, reject) =>
      this.docker.modem.followProgress(stream, (error) => (error ? reject(error) : resolve(null))),
    );
  }

  /** The test image as a script leaves it. @param changes in the words of a Dockerfile, such as `USER 1000` */
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

  /** An image with a `/bin/sh` that says its own arguments for ever, whatever it is asked to do. */
  async makeImageWithFloodingShell(reference: string): Promise<void> {
    await this.makeImage(reference, 'rm /bin/sh && printf "#!/bin/yes\\n" > /bin/sh && chmod 755 /bin/sh');
  }

  /** Removes everything that carries an instance label of the tests, and the firewall rules for its network. */
  async removeInstance(instance: string): Promise<void> {
    await this.removeLabelled(instance);
    await removeFirewallRules(instance);
  }

  protected async removeLabelled(instance: string): Promise<void> {
    // A probe's container, of a server that was killed, has a label of its own and is on the same network.
    for (const label of ['berth.probe', 'berth.instance']) {
      const filters = { label: [`${label}=${instance}`] };
      for (const { Id } of await this.docker.listContainers({ all: true, filters })) {
        await this.docker.getContainer(Id).remove({ force: true, v: true });
      }
      for (const { Name } of (await this.docker.listVolumes({ filters })).Volumes)
        await this.docker.getVolume(Name).remove();
      for (const { Id } of await this.docker.listNetworks({ filters })) await this.docker.getNetwork(Id).remove();
    }
  }
}

function connect(): Docker {
  const host = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock';
  if (host.startsWith('unix://')) return new Docker({ socketPath: host.slice('unix://'.length) });
  const { hostname, port } = new URL(host);
  return new Docker({ host: hostname, port: Number(port) });
}
