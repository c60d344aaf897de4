import type * as api from './api-types.ts';
import { newKey } from './containers.ts';
import { followRun } from './events.ts';
import { type CallOptions, type Http, path } from './http.ts';
import type { Told } from './server-sent-events.ts';

/** A message of followed ports: all that listen now, and finally the reason for the end. */
export type PortsMessage = Told<'ports', api.PortListView> | Told<'end', api.PortsEndView>;

/** What listens in containers, and who may see it from outside. */
export class Ports {
  constructor(private readonly http: Http) {}

  /** The ports on which programs in the container listen. */
  async list(id: string, { signal }: CallOptions = {}): Promise<api.PortView[]> {
    const answer = await this.http.json<api.PortListView>('GET', path`/api/containers/${id}/ports`, { signal });
    return answer.ports;
  }

  /**
   * Yields a container's ports at once, and again when one begins or ends to listen, until the container stops.
   * Reconnects after a broken connection or a restart of the server, without a limit of attempts.
   *
   * @throws BerthError if the first connection fails, and if the server refuses
   */
  follow(id: string, { signal }: CallOptions = {}): AsyncGenerator<PortsMessage, void, undefined> {
    return followRun(this.http, { route: path`/api/containers/${id}/ports`, signal });
  }

  /** Lets everybody see a port, or only its owner and those who have a link. */
  setAccess(
    id: string,
    port: number,
    access: api.PortAccess,
    { signal }: CallOptions = {},
  ): Promise<api.PortAccessView> {
    return this.http.json('PUT', path`/api/containers/${id}/ports/${String(port)}`, { json: { access }, signal });
  }

  /** Makes a link to a port. Only this answer has its `url` and `token`. */
  createLink(
    id: string,
    port: number,
    body: api.CreateLinkDto = {},
    { idempotencyKey = newKey(), signal }: CallOptions & { readonly idempotencyKey?: string } = {},
  ): Promise<api.CreatedLinkView> {
    const headers = { 'idempotency-key': idempotencyKey };
    const route = path`/api/containers/${id}/ports/${String(port)}/links`;
    return this.http.json('POST', route, { json: body, headers, isRepeatable: true, signal });
  }

  /** The links to a port that have not ended, newest first. */
  async links(id: string, port: number, { signal }: CallOptions = {}): Promise<api.LinkView[]> {
    const route = path`/api/containers/${id}/ports/${String(port)}/links`;
    return (await this.http.json<api.LinkListView>('GET', route, { signal })).links;
  }

  /** Revokes a link, and ends what it opened. Not retried if the connection breaks. */
  revokeLink(id: string, port: number, link: string, { signal }: CallOptions = {}): Promise<api.LinkRevokedView> {
    return this.http.json('DELETE', path`/api/containers/${id}/ports/${String(port)}/links/${link}`, { signal });
  }
}
