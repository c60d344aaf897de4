import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A file system with reflinks on this machine, for Docker on the same machine. */
export class ReflinkDisk {
  private readonly folder = mkdtempSync(join(tmpdir(), 'berth-reflink-'));
  private readonly mountPoint = join(this.folder, 'mounted');
  private folders = 0;

  /** @throws Error if this machine cannot mount XFS from a file */
  constructor() {
    const image = join(this.folder, 'image');
    writeFileSync(image, '');
    truncateSync(image, 512 * 2 ** 20);
    execFileSync('mkfs.xfs', ['-q', '-m', 'reflink=1', image]);
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
    execFileSync('sync', ['--file-system', this.mountPoint]);
    const said = execFileSync('df', ['--block-size=1', '--output=used', this.mountPoint]).toString();
    return Number(said.split('\n')[1]);
  }

  remove(): void {
    execFileSync('umount', [this.mountPoint]);
    rmSync(this.folder, { recursive: true });
  }
}
