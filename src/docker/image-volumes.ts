import { posix } from 'node:path';
import type { MountSettings } from 'dockerode';
import { DATA_PATH, sizeOption } from './create-options';

/**
 * The paths at which an image declares volumes (`VOLUME`), the data volume's own left out.
 *
 * @param image what Docker's inspection of the image answers
 */
export function declaredVolumes(image: unknown): string[] {
  const { Config } = (image ?? {}) as { Config?: { Volumes?: Readonly<Record<string, unknown>> | null } | null };
  const paths = Object.keys(Config?.Volumes ?? {}).map((path) => posix.resolve('/', path));
  return [...new Set(paths)].filter((path) => path !== DATA_PATH).sort();
}

/**
 * Docker makes an anonymous volume for each of these, of any size. Asked for by name of their paths they are still anonymous,
 * and go with the container, but together they hold no more than the data volume does.
 */
export function limitedVolumes(paths: readonly string[], diskMb: number): MountSettings[] {
  const size = sizeOption(Math.max(1, Math.floor(diskMb / paths.length)));
  return paths.map((path) => ({
    Type: 'volume',
    Source: '',
    Target: path,
    VolumeOptions: { NoCopy: false, Labels: {}, DriverConfig: { Name: 'local', Options: { size } } },
  }));
}
