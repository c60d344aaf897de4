import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A small file system on this machine, for Docker on the same machine; with reflinks by default. */
export class ReflinkDisk {
  private readonly folder = mkdtempSync(join(tmpdir(), 'berth-reflink-'));
  readonly mountPoint = join(this.folder, 'mounted');
  private folders = 0;

  /** @throws Error if this machine cannot mount XFS from a file */
  constructor({ sizeMb = 512, hasReflinks = true }: { sizeMb?: number; hasReflinks?: boolean } = {}) {
    const image = join(this.folder, 'image');
    writeFileSync(image, '');
    truncateSync(image, sizeMb * 2 ** 20);
    execFileSync('mkfs.xfs', ['-q', '-m', `reflink=${hasReflinks ? '1' : '0'}`, image]);
    mkdirSync(this.mountPoint);
    execFileSync('mount', ['-o', 'loop', image, this.mountPoint]);
  }

  /** Options of Docker's local driver for a volume in a new folder of the disk. */
  volumeOptions(): Record<string, string> {
    this.folders += 1;
    const device = join(this.mountPoint, String(this.folders));
    mkdirSync(device);
    return { type: 'none', o: 'bind', device };
  }

  /** The space that is taken, in bytes. */
  get used(): number {
    return this.space('used');
  }

  /** Takes the space except for `leftMb`. @returns a function that frees it */
  fill(leftMb: number): () => void {
    const filler = join(this.mountPoint, 'filler');
    execFileSync('fallocate', ['--length', String(this.space('avail') - leftMb * 2 ** 20), filler]);
    return () => rmSync(filler);
  }

  private space(which: 'used' | 'avail'): number {
    execFileSync('sync', ['--file-system', this.mountPoint]);
    const said = execFileSync('df', ['--block-size=1', `--output=${which}`, this.mountPoint]).toString();
    return Number(said.split('\n')[1]);
  }

  remove(): void {
    // Docker that was killed leaves processes of its containers behind, which keep the disk.
    execFileSync('umount', ['--lazy', this.mountPoint]);
    rmSync(this.folder, { recursive: true });
  }
}
