import type { CopyProgress } from './container-engine';
import { RECORD_BYTES } from './volume-scripts';

/** At most one report in this time, but for what is said for the first time. */
const REPORT_MS = 250;

/** Where the check of the copy begins between 0 and 100. */
const CHECK_FROM = 60;

const REPORT = /^(total|copied|checked|bytes) (\d+)(?: (\d+))?$/;

/** Reads what the scripts report, and tells how far a copy is. */
export class CopyMeter {
  /** The space that the data takes; null until the script is done. */
  bytes: number | null = null;
  private used = 0;
  private size = 0;
  private last: CopyProgress = { percent: -1, message: '' };
  private toldAt = 0;

  constructor(private readonly onProgress: (progress: CopyProgress) => void = () => undefined) {}

  /** Lines that are none of the scripts' own are left alone. */
  take(line: string): void {
    const [, word, number, size] = REPORT.exec(line) ?? [];
    const first = Number(number);
    switch (word ?? '') {
      case 'total':
        this.used = first;
        this.size = Number(size ?? number);
        this.tell('copying the data', 0);
        break;
      case 'copied':
        this.tell('copying the data', CHECK_FROM * share(first * RECORD_BYTES, this.used));
        break;
      case 'checked':
        this.tell('checking the copy', CHECK_FROM + (99 - CHECK_FROM) * share(first * RECORD_BYTES, this.size));
        break;
      case 'bytes':
        this.bytes = first;
        this.tell('the data is copied', 100);
        break;
    }
  }

  private tell(message: string, percent: number): void {
    const isNew = message !== this.last.message;
    const progress = { percent: Math.max(this.last.percent, Math.floor(percent)), message };
    const now = performance.now();
    if (!isNew && (progress.percent === this.last.percent || now - this.toldAt < REPORT_MS)) return;
    this.last = progress;
    this.toldAt = now;
    this.onProgress(progress);
  }
}

/** Headers make the streams longer than the data, so that the whole may be passed. */
function share(part: number, whole: number): number {
  return whole > 0 ? Math.min(1, part / whole) : 0;
}
