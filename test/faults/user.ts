import { testImage } from '../support/clients/api-client';
import { SeededRandom } from '../support/seeded-random';
import { Verb } from './expected-answers';
import { type RunSetting, SIZES } from './setting';

/** Relative frequency of each request: three of four change something. */
const WEIGHTS: Readonly<Record<Verb, number>> = {
  create: 11,
  start: 16,
  stop: 12,
  resize: 13,
  rename: 3,
  delete: 10,
  restore: 5,
  snapshot: 6,
  fork: 3,
  copy: 3,
  revert: 4,
  discard: 3,
  list: 10,
  get: 7,
  wait: 7,
  events: 6,
};
const WITHOUT_SNAPSHOTS = { snapshot: 0, fork: 0, copy: 0, revert: 0, discard: 0 };
const WAIT_S = 2;

export interface Asked {
  readonly verb: Verb;
  readonly method: string;
  readonly path: string;
  readonly body?: object;
  /** `db_id` of the request's container. */
  readonly target?: string;
  /** The request's snapshot. */
  readonly snapshot?: string;
}

/** A container as the user believes it to be. */
interface Known {
  readonly db_id: string;
  readonly id: string;
  readonly name: string;
  readonly status: string;
}

/** The state that one user knows, and the choice of the next request. */
export class User {
  private readonly live = new Map<string, Known>();
  private readonly deleted: string[] = [];
  /** The `db_id` of each snapshot's container. */
  private readonly snapshots = new Map<string, string>();

  constructor(
    readonly name: string,
    readonly token: string,
    readonly tier: string,
    private readonly random: SeededRandom,
    private readonly verbs: RunSetting['verbs'] = 'all',
  ) {}

  /** A running container to write into; null if the user knows of none. */
  running(): Known | null {
    const running = [...this.live.values()].filter(({ status }) => status === 'running');
    return running.length > 0 ? this.random.pick(running) : null;
  }

  next(): Asked {
    const verb = this.random.weighted(this.verbs === 'all' ? WEIGHTS : { ...WEIGHTS, ...WITHOUT_SNAPSHOTS });
    if (verb === 'list') return { verb, method: 'GET', path: '/api/containers' };
    if (verb === 'events') return { verb, method: 'GET', path: '/api/events?after=0&limit=500' };
    const known = this.live.size > 0 ? this.random.pick([...this.live.values()]) : null;
    if (verb === 'restore' && this.deleted.length > 0) return this.restore(this.random.pick(this.deleted.slice(-3)));
    if (verb === 'copy' || verb === 'discard') return this.ofSnapshot(verb) ?? this.create();
    if (verb === 'create' || !known) return this.create();
    return this.about(verb, known);
  }

  /** Updates the user's state after a 200, a 202 or a 404. */
  learn(
    { verb, target, snapshot }: Asked,
    { status, body }: { status: number; body: Readonly<Record<string, unknown>> },
  ): void {
    if (snapshot !== undefined && body['code'] === 'snapshot_not_found') this.snapshots.delete(snapshot);
    else if (status === 404 && target !== undefined) this.live.delete(target);
    if (status >= 300) return;
    if (verb === 'snapshot') this.snapshots.set(String(body['id']), target ?? '');
    if (verb === 'discard' && snapshot !== undefined) this.snapshots.delete(snapshot);
    if (verb === 'snapshot' || verb === 'discard') return;
    if (verb === 'fork') this.remember(body as unknown as Known);
    if (verb === 'list') {
      this.live.clear();
      for (const container of body['containers'] as Known[]) this.live.set(container.db_id, container);
    } else if (verb === 'delete' && target !== undefined) {
      this.live.delete(target);
      this.deleted.push(target);
    } else if (verb === 'resize' || verb === 'rename') {
      this.remember(body['container'] as Known);
    } else if (verb !== 'events' && verb !== 'fork') {
      this.remember({ ...body, ...(target !== undefined && { db_id: target }) } as Known);
    }
  }

  private remember(known: Known): void {
    const { db_id, id, name, status } = { ...this.live.get(known.db_id), ...known };
    this.live.set(db_id, { db_id, id, name, status });
  }

  private create(): Asked {
    const image = { image: 'custom', custom_image: testImage() };
    // Sometimes picks a name that is taken.
    const name = this.random.chance(0.2) ? { name: this.someName() } : {};
    const body = { ...image, ...name, ...this.random.pick(SIZES) };
    return { verb: 'create', method: 'POST', path: '/api/containers', body };
  }

  private restore(target: string): Asked {
    return { verb: 'restore', method: 'POST', path: `/api/containers/${target}/restore`, target };
  }

  private about(verb: Verb, known: Known): Asked {
    // Clients use ids of every form.
    const id = this.random.pick([known.db_id, known.id, known.id.slice(0, known.id.length === 64 ? 12 : undefined)]);
    const path = `/api/containers/${id}`;
    const asked = { verb, path, target: known.db_id };
    if (verb === 'get') return { ...asked, method: 'GET' };
    if (verb === 'delete') return { ...asked, method: 'DELETE' };
    if (verb === 'wait') {
      const status = this.random.pick(['running', 'stopped']);
      return { ...asked, method: 'GET', path: `${path}/wait?status=${status}&timeout=${String(WAIT_S)}` };
    }
    if (verb === 'snapshot') return { ...asked, method: 'POST', path: `${path}/snapshots`, body: {} };
    if (verb === 'fork') return { ...asked, method: 'POST', path: `${path}/fork`, body: {} };
    if (verb === 'revert') {
      const own = [...this.snapshots].filter(([, of]) => of === known.db_id).map(([id]) => id);
      const snapshot = own.length > 0 ? this.random.pick(own) : null;
      if (snapshot === null) return { ...asked, verb: 'snapshot', method: 'POST', path: `${path}/snapshots`, body: {} };
      const body = { snapshot, keep: false };
      return { ...asked, snapshot, method: 'POST', path: `${path}/restore-snapshot`, body };
    }
    if (verb === 'rename' || verb === 'resize') {
      const name = verb === 'rename' ? this.someName() : known.name;
      return { ...asked, method: 'PATCH', body: { name, ...this.random.pick(SIZES) } };
    }
    // Nothing to restore yet.
    return {
      ...asked,
      method: 'POST',
      path: `${path}/${verb === 'stop' ? 'stop' : 'start'}`,
      verb: verb === 'stop' ? verb : 'start',
    };
  }

  private ofSnapshot(verb: 'copy' | 'discard'): Asked | null {
    const known = [...this.snapshots.keys()];
    if (known.length === 0) return null;
    const snapshot = this.random.pick(known);
    if (verb === 'discard') return { verb, method: 'DELETE', path: `/api/snapshots/${snapshot}`, snapshot };
    // Large enough for every snapshot.
    const body = { snapshot, ...(SIZES.at(-1) ?? {}) };
    return { verb, method: 'POST', path: '/api/containers', body, snapshot };
  }

  private someName(): string {
    return `name-${String(Math.floor(this.random.next() * 4))}`;
  }
}
