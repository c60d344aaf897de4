import { randomUUID } from 'node:crypto';
import type Docker from 'dockerode';
import type { OwnerLabels } from '../../../src/engine';
import { ownerLabels } from '../../../src/docker/model/labels';
import { RealDocker } from './real-docker';

/** An image with GNU tar and Perl. */
export const SANDBOX_IMAGE = process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest';

/** Volumes of real Docker, and changes to their contents behind Berth's back. */
export class VolumeWorkbench {
  readonly real = new RealDocker();
  private readonly images: string[] = [];

  constructor(private readonly owner: OwnerLabels) {}

  /** @returns the name of a new volume. @param options of the local driver */
  async volume(options: Readonly<Record<string, string>> = {}): Promise<string> {
    const Name = `berth-test-${randomUUID()}`;
    await this.real.docker.createVolume({ Name, Labels: ownerLabels(this.owner), DriverOpts: { ...options } });
    return Name;
  }

  /** Runs a Perl program as root, with the volume at `/d`. @returns its output */
  async perl(volume: string, program: string): Promise<string> {
    const container = await this.sandbox([`${volume}:/d:nocopy`]);
    try {
      const printed = await this.real.exec(container.id, ['perl', '-e', program]);
      if (/ at -e line \d+/.test(printed)) throw new Error(printed);
      return printed;
    } finally {
      await container.remove({ force: true });
    }
  }

  /** Creates a sandbox image whose `tar` runs the program `/from/.after` of the source after each extraction. */
  async imageWithTamperingTar(): Promise<string> {
    const wrapper = [
      '#!/bin/sh',
      '/usr/bin/tar "$@"',
      'code=$?',
      'case " $* " in *" --extract "*) perl /from/.after || exit 9 ;; esac',
      'exit $code',
    ].join('\n');
    const container = await this.sandbox([]);
    const image = `berth/test-tampering:${randomUUID()}`;
    const [repo, tag] = image.split(':');
    try {
      const path = '/usr/local/bin/tar';
      await this.real.exec(container.id, ['sh', '-c', `printf '%s\n' "$1" > ${path}; chmod +x ${path}`, 'sh', wrapper]);
      await container.commit({ repo, tag });
    } finally {
      await container.remove({ force: true });
    }
    this.images.push(image);
    return image;
  }

  private async sandbox(Binds: readonly string[]): Promise<Docker.Container> {
    const container = await this.real.docker.createContainer({
      Image: SANDBOX_IMAGE,
      Entrypoint: ['sleep', 'infinity'],
      Cmd: [],
      Labels: ownerLabels(this.owner),
      HostConfig: { Runtime: 'runc', NetworkMode: 'none', Binds: [...Binds], Init: true },
    });
    await container.start();
    return container;
  }

  async cleanUp(): Promise<void> {
    await this.real.removeInstance(this.owner.instance);
    for (const image of this.images) await this.real.docker.getImage(image).remove({ force: true });
  }
}
