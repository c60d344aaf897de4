/**
 * Why an answer is allowed that would be wrong otherwise.
 *
 * - `database_down`: the database ends or does not answer.
 * - `database_busy`: locks are held in it for longer than a request waits.
 * - `docker_emptied`: Docker has neither images nor data.
 * - `death_unseen`: silent connections of a dead process still stand in the database, so its leases have to expire.
 * - `stood_still`: the process was paused.
 * - `node_silent`: a node does not answer.
 * - `node_drained`: a node takes nothing new.
 * - `late`: a process was scheduled seconds late on a busy machine, so its locks were held too long, or taken from
 *   it.
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

/** The user and the server process that a fault affects; absent: all of them. */
export interface Concerned {
  readonly user?: string;
  readonly member?: string;
}

/** How long the effects of a fault outlast it, such as an old connection. */
const AFTERMATH_MS = 10_000;
/** Each process detects a node's state for itself: it asks three managers in turn, each for five seconds. */
const AFTERMATH_OF_NODES_MS = 25_000;

interface Period extends Concerned {
  readonly excuse: Excuse;
  readonly from: number;
  to: number;
}

/** Which faults excuse which answers, and when. */
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

  /** @returns the excuses for an answer that `member` gives `user` now, to a request of the given `time` */
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
