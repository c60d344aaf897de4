import type { Readable, Writable } from 'node:stream';
import { type ContainerEngine, EngineError, type EngineVolumes, type VolumeCopy } from '../../engine';
import { allOrAbort, countingStream } from '../connection/transfers';
import type { TransferringLayers } from '../layers/layer-transfer';
import { CopyMeter, type VolumeDigest, type VolumeWork } from './volume-copy';
import { MOST_HOLES, RECORD_BYTES } from './volume-worker';

/** Volumes that can be copied to another machine's. No container may write to them meanwhile. */
export interface TransferringVolumes extends EngineVolumes {
  /** Writes a volume as an archive, and ends `output` only when the archive is complete. @throws EngineError */
  send(volume: VolumeWork, output: Writable): Promise<void>;
  /**
   * Replaces the contents of a volume by those of an archive.
   *
   * @throws EngineError `data_too_large`, `copy_failed`, `aborted`; the volume is unusable then
   */
  receive(volume: VolumeWork, input: Readable): Promise<void>;
  /**
   * @param options.like the digest of the volume to compare with
   * @param options.onReport with lines for `CopyMeter`
   * @throws EngineError
   */
  digest(volume: VolumeWork, options: { like?: VolumeDigest; onReport: (line: string) => void }): Promise<VolumeDigest>;
}

/** An engine of one node of a cluster. */
export interface TransferringEngine extends ContainerEngine {
  readonly layers: TransferringLayers;
  readonly volumes: TransferringVolumes;
}

/**
 * Copies a volume from one machine to another. The data passes through this process, which stores none of it. The
 * copy is compared with the source before this returns: each machine computes the digest of its own volume.
 *
 * @returns the disk space that the copy uses
 * @throws EngineError `data_too_large` if the target is full, `copy_failed`, `aborted`; the target is unusable then
 */
export async function transferVolume(
  source: TransferringVolumes,
  target: TransferringVolumes,
  { from, to, image, owner, onProgress, signal }: VolumeCopy,
): Promise<{ bytes: number }> {
  const meter = new CopyMeter(onProgress);
  const failed = new AbortController();
  const either = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
  const origin = { name: from, image, owner, signal: either };
  const copy = { name: to, image, owner, signal: either };
  // The source is read twice at once: the second read is mostly from memory, and the network is slower than that.
  const report = (line: string): void => {
    if (line.startsWith('total')) meter.take(line);
  };
  const archive = countingStream((bytes) => meter.take(`copied ${String(Math.floor(bytes / RECORD_BYTES))}`));
  const [original] = await allOrAbort(failed, [
    source.digest(origin, { onReport: report }),
    source.send(origin, archive),
    target.receive(copy, archive),
  ]).finally(() => archive.destroy());
  const onReport = (line: string): void => meter.take(line);
  const copied = await target.digest(copy, { like: original, onReport });
  const isSame = async (): Promise<boolean> => {
    if (copied.sha256 === original.sha256) return true;
    if (original.size - original.bytes <= MOST_HOLES) return false;
    // The holes may be elsewhere on another file system: compared as zeros, as if there were none.
    const like = { ...original, bytes: original.size };
    const [one, other] = await allOrAbort(failed, [
      source.digest(origin, { like, onReport: () => undefined }),
      target.digest(copy, { like, onReport }),
    ]);
    return one.sha256 === other.sha256;
  };
  if (!(await isSame())) {
    throw new EngineError('copy_failed', `the copy of ${from} on another machine differs from its source`);
  }
  meter.take(`bytes ${String(copied.bytes)}`);
  return { bytes: copied.bytes };
}
