import { createWriteStream, mkdirSync, rmSync, type WriteStream } from 'node:fs';
import { join } from 'node:path';

/** Folder of each run's journal and its servers' logs; they are kept until the next run. */
const FOLDER = join('.berth', 'faults');

/** Record of a run: a file with one JSON line for each entry, and counts. */
export class Journal {
  private readonly folder: string;
  private readonly file: WriteStream;
  private readonly counts = new Map<string, Map<string, number>>();
  readonly complaints: string[] = [];

  constructor(
    run: string,
    private readonly since = Date.now(),
  ) {
    this.folder = join(FOLDER, run);
    rmSync(this.folder, { recursive: true, force: true });
    mkdirSync(this.folder, { recursive: true });
    this.file = createWriteStream(join(this.folder, 'journal.log'));
  }

  /** Opens a log file beside the journal. */
  log(name: string): WriteStream {
    return createWriteStream(join(this.folder, `${name}.log`), { flags: 'a' });
  }

  /** Counts an entry of a kind, and writes it with its details. */
  note(kind: string, what: string, details: object = {}): void {
    const counts = this.counts.get(kind) ?? new Map<string, number>();
    this.counts.set(kind, counts.set(what, (counts.get(what) ?? 0) + 1));
    const at = new Date().toISOString();
    this.file.write(`${JSON.stringify({ at, [kind]: what, ...details })}\n`);
  }

  /** Records a violation, which fails the run. */
  complain(complaint: string): void {
    this.complaints.push(complaint);
    this.note('complaint', complaint);
  }

  count(kind: string, what?: string): number {
    const counts = this.counts.get(kind);
    if (what !== undefined) return counts?.get(what) ?? 0;
    return [...(counts?.values() ?? [])].reduce((sum, count) => sum + count, 0);
  }

  /** The kinds that are counted, without the lines for a person and Docker's own events. */
  kinds(): string[] {
    return [...this.counts.keys()].filter((kind) => !['said', 'docker', 'complaint'].includes(kind));
  }

  /** Prints a line for a person who watches the run. */
  say(line: string): void {
    const seconds = ((Date.now() - this.since) / 1000).toFixed(0).padStart(4);
    process.stdout.write(`${seconds} s  ${line}\n`);
    this.note('said', line);
  }

  /** All entries of a kind with their counts, the most frequent first. */
  summary(kind: string): string {
    const entries = [...(this.counts.get(kind) ?? [])].sort(([, a], [, b]) => b - a);
    return entries.map(([what, count]) => `${what} ${String(count)}`).join(', ');
  }

  async close(): Promise<void> {
    await new Promise((resolve) => this.file.end(resolve));
  }
}
