import { described } from './described';

/** A response of the API, its body as plain JSON. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Readonly<Record<string, unknown>>;
  /** The body as it was sent. */
  readonly text: string;
}

export interface NewContainer {
  readonly db_id: string;
  readonly id: string;
  readonly name: string;
}

export const SMALL = { memory_mb: 256, cpu_shares: 500, disk_mb: 1024 } as const;
/** More of everything. */
export const LARGER = { memory_mb: 512, cpu_shares: 750, disk_mb: 2048 } as const;

const MERGE_PATCH = 'application/merge-patch+json';

/** An API client as a frontend has it: HTTP and JSON, without the server's code. */
export class ApiClient {
  constructor(
    readonly url: string,
    readonly token: string,
  ) {}

  async call(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const asked = fetch(`${this.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const response = await described(method, await asked);
    const text = await response.text();
    const parsed = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
    return { status: response.status, headers: response.headers, body: parsed, text };
  }

  get(id: string): Promise<Answer> {
    return this.call('GET', `/api/containers/${id}`);
  }

  start(id: string): Promise<Answer> {
    return this.call('POST', `/api/containers/${id}/start`);
  }

  stop(id: string): Promise<Answer> {
    return this.call('POST', `/api/containers/${id}/stop`);
  }

  delete(id: string): Promise<Answer> {
    return this.call('DELETE', `/api/containers/${id}`);
  }

  update(id: string, settings: Readonly<Record<string, unknown>>): Promise<Answer> {
    return this.call('PATCH', `/api/containers/${id}`, settings);
  }

  /** A merge patch. */
  patch(id: string, changes: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.call('PATCH', `/api/containers/${id}`, changes, { 'content-type': MERGE_PATCH, ...headers });
  }

  create(body: Readonly<Record<string, unknown>> = {}, headers?: Readonly<Record<string, string>>): Promise<Answer> {
    const whole = { image: 'custom', custom_image: testImage(), ...SMALL, ...body };
    return this.call('POST', '/api/containers', whole, headers);
  }

  /** Creates a container and waits until it runs. */
  async running(body: Readonly<Record<string, unknown>> = {}): Promise<NewContainer> {
    const created = await this.create(body);
    if (created.status !== 202) throw new Error(`not created: ${JSON.stringify(created.body)}`);
    const id = String(created.body['db_id']);
    const waited = await this.call('GET', `/api/containers/${id}/wait?status=running&timeout=60`);
    if (waited.status !== 200) throw new Error(`not running: ${JSON.stringify((await this.get(id)).body)}`);
    return { db_id: id, id: String(waited.body['id']), name: String(waited.body['name']) };
  }
}

/** The database has no time, or its connection broke: nothing was done, and a client asks again. */
export const PASSING: readonly unknown[] = ['database_unavailable', 'database_busy'];

/** Asks until the answer is none of {@link PASSING}, which many requests at once get on a busy machine. */
export async function answered(ask: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await ask();
    if (!PASSING.includes(answer.body['code'])) return answer;
  }
}

/** The small image that tests use. */
export function testImage(): string {
  return process.env['TEST_IMAGE'] ?? 'berth/test:latest';
}
