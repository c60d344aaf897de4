/** How far an installation is. */
export interface InstallProgress {
  /** 0 to 99, never falling; that it is done is not for the package manager to say. */
  readonly percent: number;
  /** A sentence for people, without the package manager's own wording. */
  readonly message: string;
}

type Band = readonly [from: number, to: number, message: string];

const PREPARE: Band = [0, 0, 'preparing the installation'];
const UPDATE: Band = [1, 15, 'refreshing the lists of packages'];
const DOWNLOAD: Band = [15, 45, 'downloading packages'];
const INSTALL: Band = [45, 99, 'installing packages'];
/** apk downloads and installs at once. */
const BOTH: Band = [1, 99, 'installing packages'];

/** Reads what the installation's script, and the package manager that it runs, say of their progress. */
export class InstallProgressReader {
  private family = '';
  private step = '';
  private inTransaction = false;
  private percent = 0;

  /** @returns null for a line that is no word of progress, but output */
  take(line: string): InstallProgress | null {
    const own = /^berth:(family|step):([a-z]+)$/.exec(line);
    if (own) {
      if (own[1] === 'family') this.family = own[2] ?? '';
      else this.step = own[2] ?? '';
      return this.at(this.step === '' ? PREPARE : this.step === 'update' ? UPDATE : this.first(), 0);
    }
    switch (this.family) {
      case 'apt':
        return this.takeApt(line);
      case 'apk':
        return this.takeApk(line);
      case 'dnf':
        return this.takeDnf(line);
      default:
        return null;
    }
  }

  /** `APT::Status-Fd`: `dlstatus` counts a download, `pmstatus` what dpkg does; each from 0 to 100. */
  private takeApt(line: string): InstallProgress | null {
    const [, kind, percent] = /^(dlstatus|pmstatus):[^:]*(?::[a-z0-9-]+)?:([0-9.]+):/.exec(line) ?? [];
    if (kind === undefined) return null;
    const band = kind === 'pmstatus' ? INSTALL : this.step === 'update' ? UPDATE : DOWNLOAD;
    return this.at(band, Number(percent) / 100);
  }

  /** `--progress-fd` of apk-tools 2 and 3: what is done, and all there is to do. */
  private takeApk(line: string): InstallProgress | null {
    const [, done, total] = /^(\d+)\/(\d+)$/.exec(line) ?? [];
    return done === undefined ? null : this.at(BOTH, ratio(done, total));
  }

  /** dnf 4 counts `(1/3): file` and `Installing : name 1/3`, dnf 5 `[1/3] name`; both downloads before the transaction. */
  private takeDnf(line: string): InstallProgress | null {
    if (line.startsWith('Running transaction')) this.inTransaction = true;
    const counted =
      /^[([] *(\d+)\/(\d+)[)\]]/.exec(line) ?? /^ {2}(?:Installing|Upgrading|Running)\b.*? (\d+)\/(\d+) *$/.exec(line);
    return counted ? this.at(this.inTransaction ? INSTALL : DOWNLOAD, ratio(counted[1], counted[2])) : null;
  }

  private first(): Band {
    return this.family === 'apk' ? BOTH : DOWNLOAD;
  }

  private at([from, to, message]: Band, part: number): InstallProgress {
    const percent = Math.floor(from + (to - from) * Math.min(1, Math.max(0, part)));
    this.percent = Math.max(this.percent, Number.isNaN(percent) ? 0 : percent);
    return { percent: this.percent, message };
  }
}

function ratio(done: string | undefined, total: string | undefined): number {
  return Number(total) > 0 ? Number(done) / Number(total) : 0;
}
