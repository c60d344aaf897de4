import { StringDecoder } from 'node:string_decoder';

/** The progress of an installation. */
export interface InstallProgress {
  /** 0 to 99, never falling. The package manager does not decide that the installation is complete. */
  readonly percent: number;
  /** A sentence for people, without the package manager's own wording. */
  readonly message: string;
}

type Band = readonly [from: number, to: number, message: string];

const PREPARE: Band = [0, 0, 'preparing the installation'];
const UPDATE: Band = [1, 15, 'updating the package lists'];
const DOWNLOAD: Band = [15, 45, 'downloading packages'];
const INSTALL: Band = [45, 99, 'installing packages'];
/** apk downloads and installs at once. */
const BOTH: Band = [1, 99, 'installing packages'];

/** Reads the progress reports of the installation script and of the package manager that it runs. */
export class InstallProgressReader {
  private family = '';
  private step = '';
  private inTransaction = false;
  private percent = 0;

  /** @returns null if the line is output, not progress */
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

  /** `APT::Status-Fd`: `dlstatus` has the progress of downloads, `pmstatus` that of dpkg; each from 0 to 100. */
  private takeApt(line: string): InstallProgress | null {
    const [, kind, percent] = /^(dlstatus|pmstatus):[^:]*(?::[a-z0-9-]+)?:([0-9.]+):/.exec(line) ?? [];
    if (kind === undefined) return null;
    const band = kind === 'pmstatus' ? INSTALL : this.step === 'update' ? UPDATE : DOWNLOAD;
    return this.at(band, Number(percent) / 100);
  }

  /** `--progress-fd` of apk-tools 2 and 3: the amount done, and the total. */
  private takeApk(line: string): InstallProgress | null {
    const [, done, total] = /^(\d+)\/(\d+)$/.exec(line) ?? [];
    return done === undefined ? null : this.at(BOTH, ratio(done, total));
  }

  /**
   * dnf 4 counts `(1/3): file` and `Installing : name 1/3`, dnf 5 `[1/3] name`; both downloads before the transaction.
   */
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

/** Maximum characters of the end of the output that are shown. */
const KEPT = 2_048;

/** Maximum length of a secret: that of a container's variable. A secret must be kept whole to be found and hidden. */
const LONGEST_SECRET = 4_096;

/** Minimum length of a secret: a shorter value is none, and would be found in every other word. */
const SHORTEST_SECRET = 4;

const HIDDEN = '***';

/** Keeps the end of a program's output to show it to the user: as plain text, and without the values of secrets. */
export class OutputTail {
  private readonly secrets: readonly string[];
  private readonly decoder = new StringDecoder('utf8');
  private kept = '';
  private isCut = false;

  /** @param secrets values that must not be shown */
  constructor(secrets: readonly string[]) {
    this.secrets = secrets
      .flatMap((secret) => plain(secret).split('\n'))
      .map((line) => line.trim())
      .filter((line) => line.length >= SHORTEST_SECRET)
      // The longest first: a secret may be part of another one.
      .sort((a, b) => b.length - a.length);
  }

  takeBytes(bytes: Buffer): void {
    this.take(this.decoder.write(bytes));
  }

  take(text: string): void {
    this.kept += text;
    const most = KEPT + 4 * LONGEST_SECRET;
    if (this.kept.length <= most * 2) return;
    this.kept = this.kept.slice(-most);
    this.isCut = true;
  }

  /** The last 2,048 characters. */
  toString(): string {
    let text = plain(this.kept);
    for (const secret of this.secrets) text = text.replaceAll(secret, HIDDEN);
    text = text.replace(/(:\/\/)[^/\s@]+@/g, `$1${HIDDEN}@`);
    // Text that was cut at its beginning may begin with the rest of a secret.
    if (this.isCut) text = text.slice(LONGEST_SECRET);
    return text.slice(-KEPT).trim();
  }
}

/**
 * Removes escape sequences, control characters and invisible characters that would make text look like something
 * else.
 */
function plain(text: string): string {
  return (
    text
      .replace(/\r\n?/g, '\n')
      // oxlint-disable-next-line no-control-regex -- these are what is removed
      .replace(/\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\^_])/g, '')
      .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) => (/[\n\t]/.test(character) ? character : ''))
      .replace(/\n{3,}/g, '\n\n')
  );
}

/** Maximum length of a progress line; a longer one is output, and goes there in pieces. */
const LONGEST_LINE = 4_096;

/** Reads the output of an installation: its progress, and the end of everything else in case it fails. */
export class InstallOutput {
  private readonly reader = new InstallProgressReader();
  private readonly tail: OutputTail;
  private line = '';

  /** @param secrets values that must not be shown */
  constructor(
    secrets: readonly string[],
    private readonly onProgress: (progress: InstallProgress) => void,
  ) {
    this.tail = new OutputTail(secrets);
  }

  take({ stream, data }: { readonly stream: 'stdout' | 'stderr'; readonly data: Buffer }): void {
    if (stream === 'stderr') {
      this.tail.takeBytes(data);
      return;
    }
    const lines = (this.line + data.toString()).split('\n');
    this.line = lines.pop() ?? '';
    for (const line of lines) this.takeLine(line);
    if (this.line.length <= LONGEST_LINE) return;
    this.tail.take(this.line);
    this.line = '';
  }

  /** The end of the output that is not progress. */
  toString(): string {
    return this.tail.toString();
  }

  private takeLine(line: string): void {
    const progress = this.reader.take(line);
    if (progress) this.onProgress(progress);
    else this.tail.take(`${line}\n`);
  }
}
