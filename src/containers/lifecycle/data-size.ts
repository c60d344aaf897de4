import { invalidParameters } from '../../errors';

const MIB = 1024 * 1024;

/**
 * Beside the data a volume needs room for what the file system writes about it (a copy can take a little more than its
 * source), and for the container to start and write a log before its user can tidy up.
 */
const MARGIN = { share: 0.05, leastMb: 16 };

/** The least size, in MiB, of a volume that data of so many bytes may move to. */
export function leastDiskMb(bytes: number): number {
  const dataMb = bytes / MIB;
  return Math.ceil(dataMb + Math.max(dataMb * MARGIN.share, MARGIN.leastMb));
}

/** @throws DomainError `invalid_parameters` that names `disk_mb` and the least that will do */
export function assertDataFits(bytes: number, diskMb: number): void {
  const min = leastDiskMb(bytes);
  if (diskMb >= min) return;
  const message = `must be at least ${String(min)} for the ${String(Math.ceil(bytes / MIB))} MiB of data in the container`;
  throw invalidParameters([{ field: 'disk_mb', message, min }]);
}
