import type { Readable, Writable } from 'node:stream';
import { EngineError, type EngineImages, type EngineLayers, type LayerCopy } from '../../engine';
import { allOrAbort, countingStream } from '../connection/transfers';

/** The image at one end of a copy to another machine. */
export interface LayerWork {
  readonly reference: string;
  readonly signal: AbortSignal;
}

/** Images of writable layers that can be copied to another machine's. */
export interface TransferringLayers extends EngineLayers {
  /** Writes an image as an archive, and ends `output` only when the archive is complete. @throws EngineError */
  send(layer: LayerWork, output: Writable): Promise<void>;
  /** Takes over an image from an archive, under the name that it has there. @throws EngineError */
  receive(layer: LayerWork, input: Readable): Promise<void>;
}

/** One of the two machines. */
interface LayerMachine {
  readonly images: Pick<EngineImages, 'find' | 'tag' | 'remove'>;
  readonly layers: Pick<TransferringLayers, 'send' | 'receive'>;
}

/**
 * Copies an image from one machine to another, under a name of its own. The archive passes through this process, which
 * stores none of it. An image's id is the digest of its configuration, and with it of the content of its layers, which
 * Docker verifies as it reads them: the same id on both machines proves the copy.
 *
 * @returns the size of the archive; 0 if the target had the image
 * @throws EngineError `image_not_found`, `copy_failed`, `aborted`; the target may have the image then
 */
export async function transferLayer(
  source: LayerMachine,
  target: LayerMachine,
  { imageId, reference, signal }: Pick<LayerCopy, 'imageId' | 'reference' | 'signal'>,
): Promise<{ bytes: number }> {
  if ((await target.images.find(imageId)) !== null) {
    await target.images.tag({ id: imageId, reference });
    return { bytes: 0 };
  }
  // The copy has its name from the beginning, so that a sweep finds it if this process dies.
  await source.images.tag({ id: imageId, reference });
  try {
    return { bytes: await send(source, target, { imageId, reference, signal }) };
  } finally {
    // Otherwise the sweep removes it.
    await source.images.remove({ reference, id: imageId }).catch(() => undefined);
  }
}

/** @returns the size of the archive */
async function send(
  source: LayerMachine,
  target: LayerMachine,
  { imageId, reference, signal }: Pick<LayerCopy, 'imageId' | 'reference'> & { signal: AbortSignal | undefined },
): Promise<number> {
  const failed = new AbortController();
  const work = { reference, signal: signal ? AbortSignal.any([signal, failed.signal]) : failed.signal };
  let bytes = 0;
  const archive = countingStream((count) => (bytes = count));
  await allOrAbort(failed, [source.layers.send(work, archive), target.layers.receive(work, archive)]).finally(() =>
    archive.destroy(),
  );
  const copied = await target.images.find(reference);
  if (copied?.id === imageId) return bytes;
  throw new EngineError('copy_failed', `the copy of ${reference} on another machine is ${copied?.id ?? 'missing'}`);
}
