import { type InstallProgress, InstallProgressReader } from './install-progress';
import { OutputTail } from './output-tail';

/** A longer line is no word of progress; it goes to the output as it comes. */
const LONGEST_LINE = 4_096;

/** Takes in what an installation says: its progress, and the end of everything else for the case that it fails. */
export class InstallOutput {
  private readonly reader = new InstallProgressReader();
  private readonly tail: OutputTail;
  private line = '';

  /** @param secrets values that must not be told */
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

  /** The end of what people would read. */
  toString(): string {
    return this.tail.toString();
  }

  private takeLine(line: string): void {
    const progress = this.reader.take(line);
    if (progress) this.onProgress(progress);
    else this.tail.take(`${line}\n`);
  }
}
