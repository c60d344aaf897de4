/**
 * Why an answer may come that would be wrong otherwise. `database_down`: it ends or does not answer. `database_busy`:
 * somebody holds locks in it for longer than a request waits. `docker_emptied`: neither images nor data are there.
 * `death_unseen`: connections of a process that died still stand in the database, as they had fallen silent, so that
 * its leases have to run out. `stood_still`: the process did nothing at all. `node_silent`: a node does not answer,
 * and `node_drained`: it takes nothing. `late`: a process got its turn seconds late on a machine that has other work,
 * so that what it had locked stayed locked, or was taken from it.
 */
export type Excuse =
  | 'database_down'
  | 'database_busy'
  | 'docker_emptied'
  | 'death_unseen'
  | 'stood_still'
  | 'node_silent'
  | 'node_drained'
  | 'late';

/** Whom a fault concerns; everybody where nobody is named. */
export interface Concerned {
  readonly user?: string;
  readonly member?: string;
}

/** How long after a fault is over something may still be found as it was meanwhile, such as a connection of before. */
const AFTERMATH_MS = 10_000;
/** What becomes of a node each process finds for itself: it asks three managers in turn, each for five seconds. */
const AFTERMATH_OF_NODES_MS = 25_000;

interface Period extends Concerned {
  readonly excuse: Excuse;
  readonly from: number;
  to: number;
}

/** Which faults excuse what, from when to when. */
export class Excuses {
  private readonly periods: Period[] = [];

  constructor(private readonly now: () => number = Date.now) {}

  async during<T>(excuse: Excuse, concerned: Concerned, work: () => Promise<T>): Promise<T> {
    const period = { ...concerned, excuse, from: this.now(), to: Number.POSITIVE_INFINITY };
    this.periods.push(period);
    try {
      return await work();
    } finally {
      period.to = this.now() + (excuse.startsWith('node_') ? AFTERMATH_OF_NODES_MS : AFTERMATH_MS);
    }
  }

  /** @returns what excuses the answer to a request of that user to that member, begun then and answered now */
  since(time: number, { user, member }: Required<Concerned>): ReadonlySet<Excuse> {
    const matching = this.periods.filter(
      (period) =>
        period.from <= this.now() &&
        period.to >= time &&
        (period.user ?? user) === user &&
        (period.member ?? member) === member,
    );
    return new Set(matching.map(({ excuse }) => excuse));
  }
}
