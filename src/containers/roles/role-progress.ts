import type { InstallProgress } from '../../roles';

/** How often an installation tells of itself at most. */
const TOLD_EVERY_MS = 500;

/** Tells how far an installation is: in order, not too often, and only what is new. */
export class RoleProgress {
  private last: Promise<void> = Promise.resolve();
  private telling = false;
  private told = -1;
  private toldAt = 0;
  private closed = false;

  /** @param tell must not throw */
  constructor(private readonly tell: (progress: InstallProgress) => Promise<void>) {}

  readonly report = (progress: InstallProgress): void => {
    const now = Date.now();
    if (this.closed || this.telling || progress.percent <= this.told || now - this.toldAt < TOLD_EVERY_MS) return;
    this.told = progress.percent;
    this.toldAt = now;
    this.telling = true;
    this.last = this.tell(progress).finally(() => (this.telling = false));
  };

  /** What is reported from now on is not told. Resolves when everything before is. */
  async close(): Promise<void> {
    this.closed = true;
    await this.last;
  }
}
