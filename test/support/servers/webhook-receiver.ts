import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';

/** One request that the receiver got. */
export interface Received {
  readonly id: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** What it was answered. */
  status: number;
}

/** Answers a request by its status, or by writing the response itself. */
type Answer = (request: Received, response: ServerResponse) => unknown;

/** A receiver of webhooks on loopback. Accepts everything unless told otherwise. */
export class WebhookReceiver {
  readonly got: Received[] = [];
  answer: Answer = () => 204;

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async start(): Promise<WebhookReceiver> {
    const server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        const body = Buffer.concat(parts).toString();
        const { type, data } = JSON.parse(body) as Pick<Received, 'type' | 'data'>;
        const id = String(request.headers['webhook-id']);
        const received = { id, headers: request.headers, body, type, data, status: 0 };
        receiver.got.push(received);
        void receiver.respond(received, response);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const receiver = new WebhookReceiver(server, `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`);
    return receiver;
  }

  /** The requests that it accepted. */
  get accepted(): Received[] {
    return this.got.filter(({ status }) => status >= 200 && status < 300);
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.server.closeAllConnections();
    await closed;
  }

  /** Listens again, at the same address. */
  async restart(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(Number(new URL(this.url).port), '127.0.0.1', resolve));
  }

  private async respond(received: Received, response: ServerResponse): Promise<void> {
    const status = await this.answer(received, response);
    if (typeof status !== 'number') return;
    received.status = status;
    response.writeHead(status).end();
  }
}

/** Whether a request is signed with the secret as a receiver's library for Standard Webhooks signs it. */
export function isSignedWith({ id, body, headers }: Received, secret: string): boolean {
  const at = new Date(Number(headers['webhook-timestamp']) * 1_000);
  return String(headers['webhook-signature'])
    .split(' ')
    .includes(new Webhook(secret).sign(id, at, body));
}

/** How each event of a subject came: the messages in order, and repetitions of one in direct succession once. */
export function orderOf(received: readonly Received[]): Map<string, unknown[]> {
  const orders = new Map<string, unknown[]>();
  for (const { data } of received) {
    const order = orders.get(String(data['db_id'])) ?? [];
    if (order.at(-1) !== data['message']) order.push(data['message']);
    orders.set(String(data['db_id']), order);
  }
  return orders;
}
