import { RealDocker } from '../support/docker/real-docker';
import { Journal } from './journal';
import { inTime } from './settling';

/** Docker is loaded, and away at times. */
const ANSWER_MS = 20_000;

/** Marks in containers' data volumes, each a file, written by Docker's exec. */
export class Marks {
  private next = 1;
  /** By `db_id`: the marks that are known to be written. */
  private readonly written = new Map<string, Set<string>>();
  /** By `db_id`: the marks that may be written. */
  private readonly tried = new Map<string, Set<string>>();
  /** By `db_id`: a return to a snapshot was asked for, and takes back the marks that were written since. */
  private readonly reverted = new Set<string>();

  constructor(
    private readonly dockers: readonly RealDocker[],
    private readonly journal: Journal,
  ) {}

  async write(dbId: string, engineId: string): Promise<void> {
    const mark = `mark-${String(this.next++)}`;
    add(this.tried, dbId, mark);
    // What is written outside the data is kept by snapshots and resizes.
    const script = `echo ${dbId} > /home/user/${mark} && echo ${mark} > /last-mark && sync && echo written`;
    const printed = await inTime(ANSWER_MS, this.exec(engineId, script), { what: "Docker's exec" }).catch(String);
    const isWritten = /^written$/m.test(printed);
    if (isWritten) add(this.written, dbId, mark);
    this.journal.note('mark', isWritten ? 'written' : 'not known', { dbId, engineId, file: mark, printed });
  }

  /** Runs the script on the Docker that has the container. */
  private async exec(engineId: string, script: string): Promise<string> {
    const command = ['sh', '-c', script];
    const tried = await Promise.allSettled(this.dockers.map((docker) => docker.exec(engineId, command)));
    const done = tried.find((each) => each.status === 'fulfilled');
    return done?.value ?? tried.map((each) => (each.status === 'rejected' ? String(each.reason) : '')).join('; ');
  }

  /** To be called before a return to a snapshot is asked for. */
  noteRevert(dbId: string): void {
    this.reverted.add(dbId);
  }

  of(dbId: string): { written: ReadonlySet<string>; tried: ReadonlySet<string> } {
    const written = this.reverted.has(dbId) ? undefined : this.written.get(dbId);
    return { written: written ?? new Set(), tried: this.tried.get(dbId) ?? new Set() };
  }
}

function add(marks: Map<string, Set<string>>, dbId: string, mark: string): void {
  marks.set(dbId, (marks.get(dbId) ?? new Set()).add(mark));
}
