import { testImage } from '../support/clients/api-client';
import { SeededRandom } from '../support/seeded-random';
import { Verb } from './expected-answers';
import { SIZES } from './setting';

/** Relative frequency of each request: 70 of 100 change something. */
const WEIGHTS: Readonly<Record<Verb, number>> = {
  create: 11,
  start: 16,
  stop: 12,
  resize: 13,
  rename: 3,
  delete: 10,
  restore: 5,
  list: 10,
  get: 7,
  wait: 7,
  events: 6,
};
const WAIT_S = 2;

export interface Asked {
  readonly verb: Verb;
  readonly method: string;
  readonly path: string;
  readonly body?: object;
  /** `db_id` of the request's container. */
  readonly target?: string;
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

  constructor(
    readonly name: string,
    readonly token: string,
    readonly tier: string,
    private readonly random: SeededRandom,
  ) {}

  /** A running container to write into; null if the user knows of none. */
  running(): Known | null {
    const running = [...this.live.values()].filter(({ status }) => status === 'running');
    return running.length > 0 ? this.random.pick(running) : null;
  }

  next(): Asked {
    const verb = this.random.weighted(WEIGHTS);
    if (verb === 'list') return { verb, method: 'GET', path: '/api/containers' };
    if (verb === 'events') return { verb, method: 'GET', path: '/api/events?after=0&limit=500' };
    const known = this.live.size > 0 ? this.random.pick([...this.live.values()]) : null;
    if (verb === 'restore' && this.deleted.length > 0) return this.restore(this.random.pick(this.deleted.slice(-3)));
    if (verb === 'create' || !known) return this.create();
    return this.about(verb, known);
  }

  /** Updates the user's state after a 200, a 202 or a 404. */
  learn({ verb, target }: Asked, { status, body }: { status: number; body: Readonly<Record<string, unknown>> }): void {
    if (status === 404 && target !== undefined) this.live.delete(target);
    if (status >= 300) return;
    if (verb === 'list') {
      this.live.clear();
      for (const container of body['containers'] as Known[]) this.live.set(container.db_id, container);
    } else if (verb === 'delete' && target !== undefined) {
      this.live.delete(target);
      this.deleted.push(target);
    } else if (verb === 'resize' || verb === 'rename') {
      this.remember(body['container'] as Known);
    } else if (verb !== 'events') {
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

  private someName(): string {
    return `name-${String(Math.floor(this.random.next() * 4))}`;
  }
}
