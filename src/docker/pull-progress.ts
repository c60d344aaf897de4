import { z } from 'zod';
import type { PullProgress } from './container-engine';

/** A line of Docker's pull stream. */
export const pullLine = z.object({
  id: z.string().optional(),
  status: z.string().optional(),
  progressDetail: z.object({ current: z.number().optional(), total: z.number().optional() }).nullish(),
  error: z.string().optional(),
  errorDetail: z.object({ message: z.string().optional() }).optional(),
});

export type PullLine = z.output<typeof pullLine>;

interface Layer {
  /** Bytes; null until Docker tells it. */
  total: number | null;
  downloaded: number;
  unpacked: number;
}

/** More than Docker can unpack; a registry may name any number, and each line of progress goes through all of them. */
const MAX_LAYERS = 256;

/** Downloading is most of a pull; unpacking the rest. */
const DOWNLOAD_SHARE = 0.7;

/** Adds up what Docker tells of each layer into one percentage that never falls. */
export class PullMeter {
  private readonly layers = new Map<string, Layer>();
  private percent = 0;
  private unpacking = false;

  /** Takes in one line. */
  update({ id, status, progressDetail }: PullLine): void {
    if (id === undefined || status === undefined || status.startsWith('Pulling from')) return;
    const layer = this.layers.get(id) ?? { total: null, downloaded: 0, unpacked: 0 };
    if (this.layers.size < MAX_LAYERS) this.layers.set(id, layer);
    if (progressDetail?.total !== undefined && progressDetail.total > 0) layer.total = progressDetail.total;
    const current = Math.min(progressDetail?.current ?? 0, layer.total ?? 0);
    if (status === 'Downloading') layer.downloaded = Math.max(layer.downloaded, current);
    if (status === 'Extracting') this.unpack(layer, current);
    if (status === 'Download complete') layer.downloaded = layer.total ?? 0;
    if (status === 'Pull complete' || status === 'Already exists') this.complete(layer);
    this.percent = Math.max(this.percent, this.share());
  }

  /** Where the pull is; 100 is left to whoever knows that the image is here. */
  get progress(): PullProgress {
    if (this.layers.size === 0) return { percent: 0, message: 'looking for the image' };
    return { percent: this.percent, message: this.unpacking ? 'unpacking the image' : 'downloading the image' };
  }

  private unpack(layer: Layer, current: number): void {
    this.unpacking = true;
    layer.downloaded = layer.total ?? 0;
    layer.unpacked = Math.max(layer.unpacked, current);
  }

  private complete(layer: Layer): void {
    // A layer that was here before costs nothing and counts for nothing.
    layer.total ??= 0;
    layer.downloaded = layer.total;
    layer.unpacked = layer.total;
  }

  private share(): number {
    const layers = [...this.layers.values()];
    const known = layers.filter((layer) => layer.total !== null);
    const bytes = known.reduce((sum, layer) => sum + (layer.total ?? 0), 0);
    if (bytes === 0) return 0;
    // Docker downloads three layers at a time and does not tell the size of the rest: taken to be like the known ones.
    const expected = (bytes / known.length) * layers.length;
    const done = known.reduce(
      (sum, layer) => sum + layer.downloaded * DOWNLOAD_SHARE + layer.unpacked * (1 - DOWNLOAD_SHARE),
      0,
    );
    return Math.min(99, Math.floor((done / expected) * 100));
  }
}
